//! Invitations: the genesis and the list in one file, which proves itself from the genesis.

use std::path::Path;
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::export::ListExport;
use comity_core::genesis::Genesis;
use comity_core::list::ListState;
use comity_proto::v1;
use comity_proto::v1::invite_response::Part;
use serde::{Deserialize, Serialize};

use crate::connection::read_bounded;
use crate::contexts::write_whole;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::list::FILE_MAX_BYTES;
use crate::page::Page;
use crate::refusal::Asked;
use crate::session::Session;

/// The file. What it says of itself is for people; the genesis and the export are what is believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invite {
    /// [`Invite::FORMAT`].
    format: String,
    /// Who invites, and where its node listens.
    pub(super) inviter: Inviter,
    /// The genesis, exactly.
    genesis: String,
    /// The list at the members' depth.
    export: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inviter {
    pub(super) member: MemberId,
    pub(super) endpoint: String,
}

/// What an invitation proves.
pub(super) struct Proven {
    pub(super) inviter: Inviter,
    pub(super) genesis_bytes: Vec<u8>,
    pub(super) genesis: Arc<Genesis>,
    pub(super) export: Vec<u8>,
    pub(super) state: ListState,
}

impl Invite {
    const FORMAT: &'static str = "comity-invite/1";

    /// Reads an invitation and proves its list from its genesis. Whether it is the right genesis, only a person can tell.
    pub(super) fn read(path: &Path) -> Result<Proven, Failure> {
        let bytes = read_bounded(path, FILE_MAX_BYTES)?;
        if bytes.len() as u64 > FILE_MAX_BYTES {
            return Err(Failure::error(format!("{}: larger than {FILE_MAX_BYTES} bytes", path.display())));
        }
        let read: Result<Self, _> = serde_json::from_slice(&bytes);
        let invite = read.map_err(|e| {
            Failure::error(format!("{}: not an invitation: {e}", path.display()))
                .next("ask the inviting member for  comity member invite -O invite.json")
        })?;
        if invite.format != Self::FORMAT {
            let message =
                format!("{}: format `{}`: this software reads {}", path.display(), invite.format, Self::FORMAT);
            return Err(Failure::error(message).next("comity --version"));
        }
        let genesis_bytes = invite.genesis.into_bytes();
        let genesis = Genesis::from_bytes(&genesis_bytes).map_err(|violations| {
            Failure::error(format!("{}: its genesis is none", path.display())).fields(&violations)
        })?;
        let (genesis, export) = (Arc::new(genesis), invite.export.into_bytes());
        let (state, _) = ListExport::replay(&export, &genesis).map_err(|unproven| {
            let message = format!("{}: NOT PROVEN: {unproven}", path.display());
            Failure::new(Exit::VerificationFailed, message).next("ask another member for an invitation")
        })?;
        Ok(Proven { inviter: invite.inviter, genesis_bytes, genesis, export, state })
    }
}

pub(super) async fn run(session: &mut Session<'_>, out: &Path, force: bool) -> Result<(), Failure> {
    if out.exists() && !force {
        return Err(Failure::error(format!("{}: exists already and is left as it is", out.display()))
            .next(format!("comity member invite -O {} --force", out.display())));
    }
    let node = session.node().await?;
    let asked = Asked::about("invitation", "comity list status");
    let mut parts = node.members().invite(v1::InviteRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let (mut genesis, mut export) = (Vec::new(), Vec::new());
    while let Some(answer) = parts.message().await.map_err(|s| asked.refused(s))? {
        match answer.part {
            Some(Part::Genesis(bytes)) => genesis = bytes,
            Some(Part::ExportChunk(bytes)) => export.extend_from_slice(&bytes),
            None => {}
        }
        if (genesis.len() + export.len()) as u64 > FILE_MAX_BYTES {
            return Err(Failure::error(format!(
                "the invitation is larger than {FILE_MAX_BYTES} bytes: nothing was written"
            )));
        }
    }
    let not_proven = |problem: String| {
        Failure::new(Exit::VerificationFailed, format!("invitation: NOT PROVEN: {problem}; nothing was written"))
            .next("comity list export --commands -O FILE, and comity list verify FILE --genesis GENESIS")
    };
    if Hex32(comity_core::sha256(&genesis)) != node.genesis().federation() {
        return Err(not_proven("the node sent another genesis than that of this context".into()));
    }
    // What would be refused at the new member's is refused here, where it can still be mended.
    let (state, _) =
        ListExport::replay(&export, &Arc::new(node.genesis().clone())).map_err(|e| not_proven(e.to_string()))?;
    let member = node.member();
    let standing = state.roster().get(member);
    let endpoint = standing.map_or_else(|| node.row().endpoint.clone(), |standing| standing.row.endpoint.clone());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| not_proven("it is no UTF-8".into()));
    let invite = Invite {
        format: Invite::FORMAT.to_owned(),
        inviter: Inviter { member, endpoint },
        genesis: text(genesis)?,
        export: text(export)?,
    };
    let bytes = serde_json::to_vec(&invite)
        .map_err(|e| Failure::error(format!("the invitation cannot be written as JSON: {e}")))?;
    write_whole(out, &bytes).map_err(|e| Failure::error(format!("{}: cannot be written: {e}", out.display())))?;
    let view = InviteView {
        file: out.display().to_string(),
        bytes: bytes.len(),
        federation: node.genesis().federation().to_string(),
        name: node.genesis().document().name.clone(),
        commands: state.commands().size(),
        publications: state.public_log().size(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: an invitation to {}", view.file, view.name));
        page.field("federation", &view.federation);
        page.field("holds", format!("{} commands, {} publications; all replayed", view.commands, view.publications));
        page.field("size", format!("{} bytes", view.bytes));
        page.finish()
    })?;
    session.output.note(&format!(
        "next:  hand it over, read the federation's name to them by another way, and let them run\n       comity member join {} \
         --member CODE --endpoint HOST:PORT",
        out.display()
    ));
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct InviteView {
    file: String,
    bytes: usize,
    federation: String,
    name: String,
    commands: u64,
    publications: u64,
}
