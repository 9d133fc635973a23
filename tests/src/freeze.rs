//! Processes that stand still: SIGSTOP, as a machine that swaps or a virtual machine that is moved.

use std::io;
use std::process::{Command, Stdio};

/// A process that stands still until this is dropped.
#[derive(Debug)]
pub struct Frozen(u32);

impl Frozen {
    /// Stops a process where it is.
    ///
    /// # Errors
    /// There is no such process, or no shell to signal it with.
    pub fn process(pid: u32) -> io::Result<Self> {
        signal("STOP", pid).map(|()| Self(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that was killed meanwhile is gone.
        let _ = signal("CONT", self.0);
    }
}

fn signal(name: &str, pid: u32) -> io::Result<()> {
    // POSIX has `kill` in the shell; a program of that name may be missing.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("process {pid} takes no {name}"))) }
}
