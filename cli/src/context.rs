//! `comity context`: which nodes can be called, and as whom.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use comity_identity::certificate::Leaf;
use comity_identity::key_file;
use comity_proto::v1;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

use crate::contexts::{Context, ContextError, ContextsFile};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::when;

/// The verbs of `comity context`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts
    List,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Show a context: the node, the certificate, and until when it is valid
    Show {
        /// Its name [default: the one in use]
        name: Option<String>,
    },
    /// Add a context; the first one becomes current
    #[command(
        after_long_help = "Examples:\n  comity context add fr-desk-7 --endpoint 127.0.0.1:7102 \\\n      --certificate pki/fr/operator-desk-7.pem --key pki/fr/operator-desk-7.key --genesis genesis.json\n  comity context add fr-desk-7 ... --signing-key desk-7.key     # where the member requires personal signatures\n  comity context add jp-desk-1 ... --member jp/member.json      # where the member joined after the genesis"
    )]
    Add {
        /// Its name
        name: String,
        /// The node's operator port
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: String,
        /// The caller's certificate, PEM
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Its private key, PEM, mode 0600
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The federation's genesis file
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
        /// The member's own row, where it joined after the genesis or its authority changed since
        #[arg(long, value_name = "MEMBER.json")]
        member: Option<PathBuf>,
        /// The person's own signing key, mode 0600, from `comity pki person`
        #[arg(long, value_name = "FILE")]
        signing_key: Option<PathBuf>,
    },
    /// Call the node of a context, and show who it thinks you are
    Check {
        /// Its name [default: the one in use]
        name: Option<String>,
    },
}

pub(crate) async fn run(command: ContextCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        ContextCommand::List => list(session),
        ContextCommand::Use { name } => {
            let mut file = ContextsFile::read(&session.contexts_path()?)?;
            file.use_context(&name)?;
            session.output.note(&format!("{}: the current context is {name}", file.path().display()));
            Ok(())
        }
        ContextCommand::Show { name } => {
            let (name, context) = choose(session, name)?;
            show(session, &name, &context)
        }
        ContextCommand::Add { name, endpoint, certificate, key, genesis, member, signing_key } => {
            let context = Context {
                endpoint,
                certificate: absolute(&certificate)?,
                key: absolute(&key)?,
                genesis: absolute(&genesis)?,
                member: member.as_deref().map(absolute).transpose()?,
                signing_key: signing_key.as_deref().map(absolute).transpose()?,
            };
            add(session, &name, &context)
        }
        ContextCommand::Check { name } => {
            let (name, context) = choose(session, name)?;
            check(session, &name, &context).await
        }
    }
}

fn choose(session: &Session<'_>, name: Option<String>) -> Result<(String, Context), Failure> {
    match name {
        None => session.context(),
        Some(name) => Ok(ContextsFile::read(&session.contexts_path()?)?.choose(Some(&name))?),
    }
}

/// What was typed is relative to where it was typed, not to the contexts file.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::error(format!("{}: {e}", path.display())))
}

fn add(session: &mut Session<'_>, name: &str, context: &Context) -> Result<(), Failure> {
    // What would be refused at the first call is refused here, before anything is written.
    let credentials = comity_identity::Credentials::load(&context.certificate, &context.key).map_err(Failure::error)?;
    let genesis = crate::connection::read_genesis(&context.genesis)?;
    crate::connection::own_row(&genesis, context, credentials.id())?;
    if let Some(path) = &context.signing_key {
        comity_identity::SigningKeyFile::load(path).map_err(Failure::error)?;
    }
    let mut file = ContextsFile::read_or_new(&session.contexts_path()?)?;
    file.add(name, context)?;
    session.output.note(&format!(
        "{}: context {name} added; the current one is {}",
        file.path().display(),
        file.current().unwrap_or("-")
    ));
    session.output.note(&format!("next:  comity context check {name}"));
    Ok(())
}

fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let path = session.contexts_path()?;
    let file = match ContextsFile::read(&path) {
        // Nothing there is an empty list, for programs too.
        Err(error @ ContextError::NoFile { .. }) => {
            let failure = Failure::from(error);
            session.output.note(&format!(
                "{}\nnext:  {}",
                failure.message(),
                failure.next_command().unwrap_or_default()
            ));
            ContextsFile::read_or_new(&path)?
        }
        other => other?,
    };
    let in_use = session.context_name()?;
    let contexts = file.contexts().map(|(name, context)| ContextView::new(name, &context, in_use.as_deref()));
    let view = ContextsView { contexts: contexts.collect() };
    session.output.show(&view, |style| {
        let rows = view.contexts.iter().map(|c| {
            let mark = if c.current { "*" } else { "" }.to_owned();
            let who = c.id.clone().or_else(|| c.problem.clone()).unwrap_or_default();
            vec![mark, c.name.clone(), c.endpoint.clone(), who, c.valid_until_local.clone()]
        });
        table(style, &["", "NAME", "ENDPOINT", "WHO", "VALID UNTIL"], rows.collect())
    })
}

fn show(session: &mut Session<'_>, name: &str, context: &Context) -> Result<(), Failure> {
    let in_use = session.context_name()?;
    let view = ContextView::new(name, context, in_use.as_deref());
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}{}", view.name, if view.current { "  (in use)" } else { "" }));
        page.field("endpoint", &view.endpoint);
        page.field("who", view.id.as_deref().unwrap_or_default());
        page.field("valid until", &view.valid_until_local);
        page.field("problem", view.problem.as_deref().unwrap_or_default());
        page.field("certificate", &view.certificate);
        page.field("key", &view.key);
        page.field("genesis", &view.genesis);
        page.field("member", view.member.as_deref().unwrap_or_default());
        page.field("signing key", view.signing_key.as_deref().unwrap_or_default());
        page.finish()
    })
}

async fn check(session: &mut Session<'_>, name: &str, context: &Context) -> Result<(), Failure> {
    let node = session.connect(context).await?;
    let asked = Asked::about(format!("context {name}"), "comity context show");
    let status =
        node.node().get_node_status(v1::GetNodeStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let federation = node.genesis().federation().to_string();
    if status.federation != federation {
        let message = format!(
            "context {name}: the node is of federation {}, the genesis of the context is {federation}",
            status.federation
        );
        return Err(Failure::new(Exit::NotAuthenticated, message).next(format!("comity context show {name}")));
    }
    let view = CheckView {
        context: name.to_owned(),
        member: status.member,
        version: status.version,
        federation,
        caller: status.caller,
        certificate: node.caller().to_string(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: the node of {} answers", view.context, view.member));
        page.field("you are", &view.caller);
        page.field("version", &view.version);
        page.field("federation", &view.federation);
        page.finish()
    })
}

/// A context as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct ContextView {
    name: String,
    current: bool,
    endpoint: String,
    certificate: String,
    key: String,
    genesis: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_key: Option<String>,
    id: Option<String>,
    valid_until: Option<String>,
    #[serde(skip)]
    valid_until_local: String,
    problem: Option<String>,
}

impl ContextView {
    fn new(name: &str, context: &Context, in_use: Option<&str>) -> Self {
        let leaf = read_leaf(&context.certificate);
        let mut view = Self {
            name: name.to_owned(),
            current: in_use == Some(name),
            endpoint: context.endpoint.clone(),
            certificate: context.certificate.display().to_string(),
            key: context.key.display().to_string(),
            genesis: context.genesis.display().to_string(),
            member: context.member.as_ref().map(|path| path.display().to_string()),
            signing_key: context.signing_key.as_ref().map(|path| path.display().to_string()),
            id: None,
            valid_until: None,
            valid_until_local: String::new(),
            problem: None,
        };
        match leaf {
            Ok(leaf) => {
                let is_over = leaf.not_after < comity_core::Timestamp::from_jiff(jiff::Timestamp::now());
                view.id = Some(leaf.id.to_string());
                view.valid_until = Some(leaf.not_after.to_string());
                view.valid_until_local =
                    format!("{}{}", when::local_core(leaf.not_after), if is_over { " (expired)" } else { "" });
                view.problem =
                    is_over.then(|| "the certificate has expired: issue another with comity pki issue".to_owned());
            }
            Err(problem) => view.problem = Some(problem),
        }
        view
    }
}

fn read_leaf(path: &Path) -> Result<Leaf, String> {
    let pem = key_file::read_public(path).map_err(|e| e.to_string())?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|e| format!("{}: {e}", path.display()))?;
    Leaf::from_der(&der).map_err(|e| format!("{}: {e}", path.display()))
}

#[derive(Debug, Clone, Serialize)]
struct ContextsView {
    contexts: Vec<ContextView>,
}

#[derive(Debug, Clone, Serialize)]
struct CheckView {
    context: String,
    member: String,
    version: String,
    federation: String,
    caller: String,
    certificate: String,
}
