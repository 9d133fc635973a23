//! The disk of the access log fails while a node runs: nothing is answered that is not recorded, the reason is told, health says so,
//! and the node goes on by itself when the cause is gone.
//!
//! What strace and mount are needed for is left out where they are missing, and says so on stderr.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use comity_cli::Exit;
use comity_core::Role;
use comity_core::access::LOG_WRITTEN_AGAIN;
use support::{Field, PATIENCE};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const FR: usize = 0;

/// A file that lies elsewhere meanwhile.
struct Moved {
    from: PathBuf,
    to: PathBuf,
}

impl Moved {
    fn away(from: PathBuf) -> Self {
        let to = from.with_extension("aside");
        std::fs::rename(&from, &to).unwrap();
        Self { from, to }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        std::fs::rename(&self.to, &self.from).unwrap();
    }
}

/// System calls on one file fail in a process.
struct Injected(Child);

impl Injected {
    async fn into(process: u32, file: &Path, calls: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-e", &format!("inject={calls}"), "-e", "trace=pwrite64,fsync,fdatasync", "-P"]);
        strace.arg(file).args(["-o", "/dev/null", "-p", &process.to_string()]);
        let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        let begin = Instant::now();
        while !traced() {
            assert!(begin.elapsed() < PATIENCE, "strace did not attach");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self(child)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Asked, not killed: it lets go of every thread then.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// A small file system of its own for the national store, and a file that fills it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=12m", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(&at).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Nothing more goes in.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn is_read_only(&self, read_only: bool) -> bool {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", how]).arg(&self.0).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn has_strace() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

async fn health(field: &Field, part: &str) -> Option<ServingStatus> {
    let address = format!("http://{}", field.federation.seats[FR].health);
    let channel = Endpoint::from_shared(address).unwrap().connect().await.ok()?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: part.to_owned() }).await.ok()?;
    ServingStatus::try_from(answer.into_inner().status).ok()
}

async fn until_health(field: &Field, part: &str, wanted: ServingStatus) {
    let begin = Instant::now();
    loop {
        let found = health(field, part).await;
        if found == Some(wanted) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "`{part}` is {found:?}, not {wanted:?}: {}", tail(field));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tail(field: &Field) -> String {
    let log = std::fs::read_to_string(field.federation.seats[FR].log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn store_of(field: &Field) -> PathBuf {
    field.federation.seats[FR].folder.join("data").join("national.db")
}

/// Nothing is answered while it lasts, to anybody; and afterwards everything is as it should be, without anybody's help.
async fn refused_while<T>(field: &Field, what: &str, why: &str, trouble: T) {
    let list = ["proposal", "list"];
    // Whoever asks first finds it out.
    let begin = Instant::now();
    loop {
        let answer = field.run("FR", Role::Operator, &list).await;
        assert!(!answer.out.contains("FR-P-"), "{what}: answered all the same: {}", answer.out);
        if answer.err.contains("the access log cannot be written") && answer.err.contains(why) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: {}\n{}", answer.err, tail(field));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_health(field, "access-log", ServingStatus::NotServing).await;
    until_health(field, "", ServingStatus::NotServing).await;
    for role in [Role::Operator, Role::Approver, Role::Auditor] {
        let asked: &[&str] = if role == Role::Auditor { &["audit", "log"] } else { &list };
        field.refused(Exit::Error, "FR", role, asked, &["the access log cannot be written", why]).await;
    }
    drop(trouble);
    until_health(field, "access-log", ServingStatus::Serving).await;
    until_health(field, "", ServingStatus::Serving).await;
    let found = field.ok("FR", Role::Operator, &list).await;
    assert!(found.to_string().contains("FR-P-"), "{what}: {found}");
    field.draft("FR", &[]).await;
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}

/// How often the log says that it was not written for a time.
async fn written_again(field: &Field) -> usize {
    let command = ["audit", "log", "--action", LOG_WRITTEN_AGAIN, "--limit", "1000"];
    let log = field.ok("FR", Role::Auditor, &command).await;
    log["records"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_file_is_gone_answers_nothing_until_it_is_back() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    field.draft("FR", &[]).await;
    let store = store_of(&field);
    refused_while(&field, "the file is gone", "moved, removed or replaced", Moved::away(store.clone())).await;
    let log = store.with_extension("db-wal");
    refused_while(&field, "its log is gone", "moved, removed or replaced", Moved::away(log)).await;
    assert_eq!(written_again(&field).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_disk_fails_answers_nothing_until_it_works_again() {
    if !has_strace() {
        eprintln!("skipped: there is no strace");
        return;
    }
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    field.draft("FR", &[]).await;
    let log = store_of(&field).with_extension("db-wal");
    let causes = [
        ("a sync fails", "fsync,fdatasync:error=EIO", "the disk fails"),
        ("the file system became read-only", "pwrite64:error=EROFS", "the disk fails"),
        ("no room is left", "pwrite64:error=ENOSPC", "the disk is full"),
    ];
    for (what, calls, why) in causes {
        let process = field.federation.process_id(FR).unwrap();
        let injected = Injected::into(process, &log, calls).await;
        refused_while(&field, what, why, injected).await;
    }
    assert_eq!(written_again(&field).await, causes.len());
    // What was half written when it failed is not taken for written by the process after this one.
    let process = field.federation.process_id(FR).unwrap();
    let injected = Injected::into(process, &log, "fsync,fdatasync:error=EIO").await;
    let refused = field.run("FR", Role::Operator, &["proposal", "list"]).await;
    assert!(!refused.out.contains("FR-P-"), "{}", refused.out);
    field.federation.kill(FR);
    drop(injected);
    field.federation.start(PATIENCE).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_disk_is_full_answers_nothing_until_there_is_room() {
    let mut field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    let Some(disk) = SmallDisk::mount(field.federation.folder.join("small")) else {
        eprintln!("skipped: no file system can be mounted");
        return;
    };
    let data = field.federation.seats[FR].folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(disk.0.join("national.db"), data.join("national.db")).unwrap();
    std::fs::File::create(disk.0.join("national.db")).unwrap();
    field.federation.start(PATIENCE).await.unwrap();
    field.draft("FR", &[]).await;

    struct Full<'a>(&'a SmallDisk);
    impl Drop for Full<'_> {
        fn drop(&mut self) {
            std::fs::remove_file(self.0.ballast()).unwrap();
        }
    }
    disk.fill();
    refused_while(&field, "the disk is full", "the disk is full", Full(&disk)).await;
    assert_eq!(written_again(&field).await, 1);

    // A file system is not made read-only while it is written to: the node is stopped, and does not start on it.
    field.federation.stop(FR, Duration::from_secs(20)).await;
    assert!(disk.is_read_only(true));
    field.federation.spawn(FR).unwrap();
    let refused = field.federation.wait_serving(FR, PATIENCE).await.unwrap_err().to_string();
    assert!(refused.contains("national"), "{refused}");
    assert!(disk.is_read_only(false));
    field.federation.start(PATIENCE).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    field.federation.stop(FR, Duration::from_secs(20)).await;
}
