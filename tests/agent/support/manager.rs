//! A service manager that only listens.

use super::{PATIENCE, wait_for};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What was heard, and when.
type Heard = Arc<Mutex<Vec<(Instant, String)>>>;

/// Listens where `$NOTIFY_SOCKET` points, until it is dropped.
pub struct Manager {
    folder: TempDir,
    heard: Heard,
}

impl Manager {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let heard = Heard::default();
        let weak = Arc::downgrade(&heard);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(heard) = weak.upgrade() {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                    heard.lock().unwrap().push((Instant::now(), message));
                }
            }
        });
        Self { folder, heard }
    }

    /// The value of `$NOTIFY_SOCKET`.
    pub fn socket(&self) -> String {
        self.folder.path().join("notify").to_str().unwrap().to_owned()
    }

    /// Everything heard by now.
    pub fn heard(&self) -> Vec<(Instant, String)> {
        self.heard.lock().unwrap().clone()
    }

    /// The messages that contain this.
    pub fn saying(&self, text: &str) -> Vec<(Instant, String)> {
        self.heard().into_iter().filter(|(_, message)| message.contains(text)).collect()
    }

    /// Waits for a message that contains this.
    pub fn wait_for(&self, text: &str) -> (Instant, String) {
        wait_for(&format!("the manager hears {text:?}"), PATIENCE, || self.saying(text).into_iter().next())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("--- the manager heard:\n{:#?}", self.heard());
        }
    }
}
