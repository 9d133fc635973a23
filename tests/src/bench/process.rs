//! What the kernel says of processes, proc(5), and of their files.

use std::fs;
use std::path::Path;

use comity_cli::demo::federation::Federation;

/// Clock ticks a second of `/proc/PID/stat`: fixed at 100 on Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time that a process has used, user and system, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in brackets, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// The most memory that a process has had resident, in MiB.
pub(super) fn peak_rss_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// What a process is, and where it keeps what it replicates.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    /// Its process id.
    pub(super) pid: u32,
    /// Files of this folder whose names begin so.
    pub(super) folder: std::path::PathBuf,
    /// Empty for all of them, and those of folders below.
    pub(super) prefix: &'static str,
}

impl Watched {
    /// The nodes of a federation that run.
    pub(super) fn nodes(federation: &Federation) -> Vec<Self> {
        let seats = federation.seats.iter().enumerate();
        let watched = seats.filter_map(|(n, seat)| {
            let pid = federation.process_id(n)?;
            Some(Self { pid, folder: seat.folder.join("data"), prefix: "consensus.db" })
        });
        watched.collect()
    }

    /// How large its files are, in MiB.
    pub(super) fn disk_mib(&self) -> f64 {
        bytes_under(&self.folder, self.prefix) as f64 / (1024.0 * 1024.0)
    }
}

fn bytes_under(folder: &Path, prefix: &str) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    let sizes = files.map(|file| match file.metadata() {
        Ok(data) if data.is_dir() => bytes_under(&file.path(), prefix),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
