//! `comity list export`: the agreed list as one file, whole or not at all.

use std::path::{Path, PathBuf};

use comity_proto::v1;
use tonic::Streaming;

use super::verify::FILE_MAX_BYTES;
use crate::failure::Failure;
use crate::part_file::PartFile;
use crate::refusal::Asked;
use crate::session::Session;

pub(crate) async fn run(
    session: &mut Session<'_>,
    include_commands: bool,
    out: Option<PathBuf>,
    force: bool,
) -> Result<(), Failure> {
    match &out {
        None if session.output.is_terminal() => {
            return Err(Failure::usage("an export is not for a terminal: name a file, or redirect stdout")
                .next("comity list export -O list.json"));
        }
        Some(path) if !force && path.exists() => {
            return Err(Failure::error(format!("{}: exists already and is left as it is", path.display()))
                .next(format!("comity list export -O {} --force", path.display())));
        }
        _ => {}
    }
    let node = session.node().await?;
    let asked = Asked::about("export", "comity list status");
    let request = v1::ExportListRequest { include_commands };
    let chunks = node.list().export_list(request).await.map_err(|s| asked.refused(s))?.into_inner();
    match out {
        None => to_stdout(session, chunks, &asked).await,
        Some(path) => {
            let bytes = to_file(&path, chunks, &asked).await?;
            session.output.note(&format!("{}: {bytes} bytes", path.display()));
            session.output.note(&format!("next:  comity list verify {} --genesis FILE", path.display()));
            Ok(())
        }
    }
}

async fn to_stdout(
    session: &mut Session<'_>,
    mut chunks: Streaming<v1::ExportListResponse>,
    asked: &Asked,
) -> Result<(), Failure> {
    while let Some(part) = chunks.message().await.map_err(|s| asked.refused(s))? {
        session.output.bytes(&part.chunk)?;
        if session.output.is_closed() {
            break;
        }
    }
    Ok(())
}

async fn to_file(path: &Path, mut chunks: Streaming<v1::ExportListResponse>, asked: &Asked) -> Result<u64, Failure> {
    let mut file = PartFile::create(path)?;
    let mut bytes = 0;
    while let Some(part) = chunks.message().await.map_err(|s| asked.refused(s))? {
        bytes += part.chunk.len() as u64;
        if bytes > FILE_MAX_BYTES {
            return Err(Failure::error(format!(
                "the export is larger than {FILE_MAX_BYTES} bytes: nothing was written"
            )));
        }
        file.write(&part.chunk)?;
    }
    file.finish()?;
    Ok(bytes)
}
