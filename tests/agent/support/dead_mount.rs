//! A folder below which every access hangs, as on a network mount whose server is gone.

use super::{Process, skip, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Mounts a file system whose process never answers the kernel.
const PROGRAM: &str = "import ctypes, os, signal, sys\n\
    server = os.open('/dev/fuse', os.O_RDWR)\n\
    options = f'fd={server},rootmode=40000,user_id=0,group_id=0'.encode()\n\
    if ctypes.CDLL(None).mount(b'dead', sys.argv[1].encode(), b'fuse', 0, options): sys.exit(1)\n\
    open(sys.argv[2], 'w').close()\n\
    while True: signal.pause()\n";

/// A folder on such a mount, until this is dropped: then what was in it before is there again.
pub struct DeadMount {
    path: PathBuf,
    server: Option<Process>,
}

impl DeadMount {
    /// Mounts over a folder. `None` where that is not allowed, which is said.
    pub fn over(folder: &Path) -> Option<Self> {
        let mounted = folder.with_extension("mounted");
        let _ = fs::remove_file(&mounted);
        let mut server = Process::start(Process::command("python3").args(["-c", PROGRAM]).args([folder, &mounted]));
        let has_mounted = wait_for("the folder is mounted over", Duration::from_secs(30), || {
            if mounted.exists() { Some(true) } else { server.has_ended().then_some(false) }
        });
        if !has_mounted {
            skip("this machine does not allow to mount a file system without an answer");
            return None;
        }
        Some(Self { path: folder.to_owned(), server: Some(server) })
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        // Whoever hangs is told that the server has gone.
        drop(self.server.take());
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
