//! `comity demo`: a federation of four members on this machine, and the whole story of one designation.

pub mod desk;
pub mod federation;
mod partner;
pub mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use comity_core::Role;
use comity_core::rule::Rules;
use federation::{Federation, NodeProgram, Plan};
use story::{Ending, Narrator};

use crate::failure::Failure;
use crate::node_process;
use crate::output::Output;

/// How long the nodes may take to serve.
const START: Duration = Duration::from_secs(90);
/// How long they may take to end.
const END: Duration = Duration::from_secs(15);

/// What `comity demo` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoOptions {
    /// End after the story: exit code 0 if every step went as told
    #[arg(long)]
    once: bool,
    /// Keep the folders, in DIR, which must be empty or new [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the demonstration.
pub(crate) async fn run(options: DemoOptions, output: &mut Output) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(node_process::stopped());
    let temporary;
    let folder = match &options.keep {
        Some(folder) => empty_folder(folder)?,
        None => {
            temporary = tempfile::Builder::new()
                .prefix("comity-demo-")
                .tempdir()
                .map_err(|e| Failure::error(format!("no temporary folder: {e}")))?;
            temporary.path().to_owned()
        }
    };
    let begin = Instant::now();
    output
        .note("comity demo: four member states, each with its own authority, node, folder and people, on this machine");
    let plan = Plan {
        name: "Demonstration Partnership".into(),
        members: ["FR", "DE", "CA", "AU"].iter().filter_map(|m| m.parse().ok()).collect(),
        recipients: Vec::new(),
        rules: Rules::uniform("quorum(4/4)".parse().map_err(Failure::error)?),
        settings: "[list]\ncosign_interval_ms = 100\n".into(),
    };
    let program = NodeProgram {
        program: std::env::current_exe().map_err(|e| Failure::error(format!("this program's own path: {e}")))?,
        arguments: vec![crate::NODE_PROCESS.to_owned()],
    };
    let mut federation = Federation::lay_out(&folder, &plan, program).map_err(Failure::error)?;
    let told = tokio::select! {
        told = tell(&mut federation, output) => told,
        () = &mut stop => Err(Failure::error("stopped before the story was told")),
    };
    let ending = match told {
        Ok(ending) => ending,
        Err(failure) => {
            federation.shut_down(END).await;
            return Err(failure);
        }
    };
    output.note(&format!("\nThe whole story took {:.1} s.", begin.elapsed().as_secs_f64()));
    if !options.once {
        invite(&federation, &ending, output);
        stop.await;
        output.note("\nstopping the nodes");
    }
    federation.shut_down(END).await;
    if let Some(folder) = &options.keep {
        output.note(&format!("everything is kept in {}", folder.display()));
    }
    Ok(())
}

async fn tell(federation: &mut Federation, output: &mut Output) -> Result<Ending, Failure> {
    let begin = Instant::now();
    federation.start(START).await.map_err(Failure::error)?;
    output.note(&format!(
        "four nodes serve after {:.1} s, in {}",
        begin.elapsed().as_secs_f64(),
        federation.folder.display()
    ));
    let mut narrator = Narrator::new(output);
    Box::pin(story::tell(federation, &mut narrator)).await.map_err(Failure::error)
}

/// What to try while the nodes are up.
fn invite(federation: &Federation, ending: &Ending, output: &mut Output) {
    let context = |member: &str, role, name| federation.seat(member).map(|s| s.context(role, name)).unwrap_or_default();
    let lines = [
        (context("DE", Role::Operator, "desk-1"), format!("proposal show {}", ending.proposal)),
        (context("CA", Role::Operator, "desk-1"), "proposal list".to_owned()),
        (
            context("AU", Role::Operator, "desk-1"),
            format!("ballot show {}", ending.ballot.get(..10).unwrap_or_default()),
        ),
        (context("AU", Role::Operator, "desk-1"), format!("list show {}", ending.entry)),
        (context("FR", Role::Auditor, "audit-1"), "audit log --limit 20".to_owned()),
        (context("FR", Role::Policy, "legal-1"), "policy show --party DE".to_owned()),
        (context("FR", Role::Admin, "ops-1"), "node status".to_owned()),
    ];
    output.note("\nThe nodes stay up. In another terminal:\n");
    output.note(&format!("    export COMITY_CONFIG={}", federation.contexts().display()));
    let width = lines.iter().map(|(context, _)| context.len()).max().unwrap_or_default();
    for (context, command) in lines {
        output.note(&format!("    comity --context {context:<width$} {command}"));
    }
    output.note(&format!(
        "    comity list verify {} --genesis {}",
        ending.export.display(),
        federation.folder.join("genesis.json").display()
    ));
    output.note("\nwhere comity is this program (`cargo run --bin comity --` from the checkout). Ctrl-C ends the demonstration.");
}

fn empty_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: std::io::Error| Failure::error(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(Failure::usage(format!("{}: is not empty: name a new folder for --keep", folder.display())));
    }
    folder.canonicalize().map_err(failed)
}
