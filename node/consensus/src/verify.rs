//! Checking many commands at once: signatures cost some 50 us each, so that a batch of them would hold up everything else.

use std::num::NonZero;

use crate::random;
use crate::types::{Command, Keys};

/// Commands that are checked where they are, without a thread for it.
const INLINE_MAX: usize = 4;
/// Above this many bytes a command is not checked inline: its text is parsed as well.
const INLINE_MAX_BYTES: usize = 16 * 1024;

/// Checks what is not checked yet, on as many threads as there are processors. Each command remembers what was found.
pub(crate) async fn all<'a>(keys: &Keys, commands: impl Iterator<Item = &'a Command>) {
    let mut open: Vec<Command> = commands.filter(|command| !command.is_checked()).cloned().collect();
    let bytes: usize = open.iter().map(Command::size_bytes).sum();
    let few = open.len() <= INLINE_MAX && bytes <= INLINE_MAX_BYTES;
    if few || random::is_seeded() {
        for command in &open {
            let _ = command.check(keys);
        }
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = open.len().div_ceil(threads).max(1);
    let mut tasks = Vec::with_capacity(threads);
    while !open.is_empty() {
        let part: Vec<Command> = open.drain(..share.min(open.len())).collect();
        let keys = keys.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            for command in &part {
                let _ = command.check(&keys);
            }
        }));
    }
    for task in tasks {
        // Only a panic ends it early; then the command is checked, and panics, where it is used.
        let _ = task.await;
    }
}
