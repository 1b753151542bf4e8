//! A thread that serves sockets, and does in between what the test asks of it.
//!
//! The thread alone owns what it serves, so a test sees and changes it between two packets, never in the middle of one.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What an event loop serves. Its sockets are non-blocking.
pub trait Service: Send + 'static {
    /// Adds the sockets that it waits for, and says until when it waits at the latest.
    fn interests<'a>(&'a self, sockets: &mut Vec<PollFd<'a>>) -> Option<Instant>;

    /// Does all that can be done without waiting.
    fn serve(&mut self, now: Instant);
}

type Errand<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A service with its thread. Dropping it ends both, and fails the test when the thread panicked.
pub struct EventLoop<S> {
    errands: Sender<Errand<S>>,
    /// A byte wakes the thread, the end of the stream ends it.
    bell: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Service> EventLoop<S> {
    pub fn start(service: S) -> Self {
        let (errands, incoming) = channel();
        let (bell, ear) = UnixStream::pair().unwrap();
        ear.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || run(service, &incoming, &ear));
        Self { errands, bell: Some(bell), thread: Some(thread) }
    }

    /// Has the thread do something with the service, and waits for what it gives.
    pub fn ask<T: Send + 'static>(&self, errand: impl FnOnce(&mut S) -> T + Send + 'static) -> T {
        let (sender, answer) = channel();
        // A thread that has panicked takes nothing; then no answer comes either.
        let _ = self.errands.send(Box::new(move |service| {
            let _ = sender.send(errand(service));
        }));
        if let Some(mut bell) = self.bell.as_ref() {
            let _ = bell.write_all(&[0]);
        }
        answer.recv().expect("the service's thread runs")
    }
}

impl<S> Drop for EventLoop<S> {
    fn drop(&mut self) {
        self.bell = None;
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = result
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn run<S: Service>(mut service: S, errands: &Receiver<Errand<S>>, mut ear: &UnixStream) {
    loop {
        let mut sockets = vec![PollFd::new(ear, PollFlags::IN)];
        let deadline = service.interests(&mut sockets);
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(&mut sockets, patience.and_then(|patience| Timespec::try_from(patience).ok()).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        if matches!(ear.read(&mut [0; 64]), Ok(0)) {
            return;
        }
        for errand in errands.try_iter() {
            errand(&mut service);
        }
        service.serve(Instant::now());
    }
}
