//! The access layer: identity, role, limits and access record for every RPC of every listener, in one place that no handler
//! can forget.
//!
//! INVARIANT: an answer leaves only after its access record is durable. Where the log cannot be written, the answer is thrown
//! away and the caller is refused.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use comity_app::{Node, Standing};
use comity_core::access::{AccessRecord, Outcome};
use comity_core::{MemberId, Role, Timestamp};
use comity_identity::SharedTrust;
use futures::FutureExt as _;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

use crate::caller::{AccessScope, Caller};
use crate::connection::ConnectionInfo;
use crate::reading;
use crate::status;
use crate::table::{self, Listener, Recording, Rpc};

/// The fewest calls at one time that a member is let have.
const SHARE_MIN: usize = 16;

/// Puts the access layer around a listener's services.
#[derive(Debug, Clone)]
pub struct AccessLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<Node>,
    trust: SharedTrust,
    listener: Listener,
    max_calls: usize,
    /// Calls at one time: each member has a share of its own, so that none can use up the others'.
    calls: Mutex<Shares>,
}

/// What each member may have, while this many share it.
#[derive(Debug, Default)]
struct Shares {
    among: usize,
    of_member: BTreeMap<MemberId, Arc<Semaphore>>,
}

impl AccessLayer {
    /// A layer for one listener, which lets at most `max_calls` run at one time, in equal shares for the members.
    pub fn new(node: Arc<Node>, trust: SharedTrust, listener: Listener, max_calls: usize) -> Self {
        Self { shared: Arc::new(Shared { node, trust, listener, max_calls, calls: Mutex::default() }) }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service within the layer.
#[derive(Debug, Clone)]
pub struct Access<S> {
    inner: S,
    shared: Arc<Shared>,
}

type Answer = Response<Body>;

impl<S> Service<Request<Body>> for Access<S>
where
    S: Service<Request<Body>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        // The clone that was polled ready is the one to call.
        let inner = std::mem::replace(&mut self.inner, inner);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // In a task of its own: a caller that hangs up neither stops the handler half-way nor escapes its record.
            let task = tokio::spawn(shared.serve(inner, request));
            Ok(task.await.unwrap_or_else(|_| Status::internal("the call was stopped").into_http()))
        })
    }
}

impl Shared {
    async fn serve<S>(self: Arc<Self>, inner: S, mut request: Request<Body>) -> Answer
    where
        S: Service<Request<Body>, Response = Answer, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let Some(info) = request.extensions().get::<ConnectionInfo>().cloned() else {
            return Status::unauthenticated("no client certificate").into_http();
        };
        let path = request.uri().path().to_owned();
        let request_id = uuid::Uuid::now_v7().simple().to_string();
        let scope = AccessScope::default();
        let caller = Caller {
            peer: info.peer.clone(),
            remote: info.remote,
            request_id: request_id.clone(),
            lifetime: info.lifetime.clone(),
        };
        let row = table::find(self.listener, &path);
        let answer = match self.admit(row, &info, &path) {
            Err(refusal) => refusal.into_http(),
            Ok(rpc) => {
                request.extensions_mut().insert(caller.peer.clone());
                request.extensions_mut().insert(caller.clone());
                request.extensions_mut().insert(scope.clone());
                let member = info.peer.member;
                // A handler that panics is answered for, and recorded, like any other failure.
                let run = std::panic::AssertUnwindSafe(self.run(rpc, member, inner, request));
                run.catch_unwind().await.unwrap_or_else(|_| status::handler_failed().into_http())
            }
        };
        if let Some(rpc) = row.filter(|rpc| rpc.recording == Recording::ByConnection) {
            info.count(rpc.name, outcome_of(&answer).0 != Outcome::Denied);
            return answer;
        }
        let (outcome, reason) = outcome_of(&answer);
        let action = row.map_or_else(|| format!("unlisted {}", bounded(&path)), |rpc| rpc.name.to_owned());
        let record = AccessRecord {
            who: Some(caller.peer.id.clone()),
            member: Some(caller.peer.member),
            outcome,
            reason,
            touched: scope.take(),
            request_id: Some(request_id.clone()),
            ..AccessRecord::new(Timestamp::from_jiff(jiff::Timestamp::now()), caller.remote.to_string(), action)
        };
        match self.node.record_access(record).await {
            Ok(()) => answer,
            Err(error) => {
                tracing::error!(%request_id, %error, "the access log cannot be written: the answer is withheld");
                self.log_unavailable().into_http()
            }
        }
    }

    /// Whether the call may reach its handler.
    fn admit(&self, row: Option<&'static Rpc>, info: &ConnectionInfo, path: &str) -> Result<&'static Rpc, Status> {
        let rpc = row.ok_or_else(|| status::unlisted(self.listener, &bounded(path)))?;
        let now = Timestamp::from_jiff(jiff::Timestamp::now());
        // An open connection outlives the certificate and the roster with which it began.
        info.peer.still_holds(&self.trust.load(), now).map_err(|e| status::certificate_lapsed(&e.to_string()))?;
        // INVARIANT: of whoever takes part no more only recalls are spoken of, and consensus while it cannot do without.
        let is_left_out = self.listener == Listener::Peer && !self.node.takes_part(info.peer.member);
        let needed = || rpc.by_the_needed && self.node.consensus().still_needed().contains(&info.peer.member);
        if is_left_out && !rpc.by_the_left_out && !needed() {
            return Err(status::certificate_lapsed("this member takes part no more"));
        }
        if self.listener == Listener::Operator && info.peer.member != self.node.member() {
            return Err(status::certificate_lapsed("the certificate is another member's"));
        }
        if !rpc.roles.contains(&info.peer.role()) {
            return Err(status::role_not_allowed(rpc.name, info.peer.role(), rpc.roles));
        }
        // INVARIANT: nothing is served or signed before others have said how far they saw the access log.
        let standing = self.node.standing();
        if standing != Standing::Serving && !rpc.while_held {
            return Err(status::held(&standing, self.listener));
        }
        if rpc.needs_list {
            self.node.ensure_holds_list().map_err(status::of)?;
        }
        if rpc.recording == Recording::EachCall && !self.node.can_record() {
            return Err(self.log_unavailable());
        }
        Ok(rpc)
    }

    fn log_unavailable(&self) -> Status {
        let own = self.listener == Listener::Operator;
        status::access_log_unavailable(own.then(|| self.node.log_trouble()).flatten())
    }

    async fn run<S>(&self, rpc: &'static Rpc, member: MemberId, mut inner: S, request: Request<Body>) -> Answer
    where
        S: Service<Request<Body>, Response = Answer, Error = Infallible> + Send,
        S::Future: Send,
    {
        let reading = match rpc.reads_list.then(|| reading::asked(request.headers())).transpose() {
            Ok(reading) => reading,
            Err(refusal) => return refusal.into_http(),
        };
        // Refused rather than queued: a queue would only grow under load, and the caller knows best whether to wait.
        let share = self.share(member);
        let Ok(_permit) = share.try_acquire() else { return status::too_busy().into_http() };
        let answered = async {
            let age = match reading {
                None => None,
                Some(reading) => match reading::begin(&self.node, reading).await {
                    Ok(age) => age,
                    Err(refusal) => return refusal.into_http(),
                },
            };
            let mut answer = match inner.call(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            reading::tell(&mut answer, age);
            answer
        };
        // What is answered by a stream lives beyond this: it holds a place of its own, and ends with its connection.
        match tokio::time::timeout(rpc.deadline(), answered).await {
            Ok(answer) => answer,
            Err(_) => status::too_slow(rpc.name, rpc.deadline_ms).into_http(),
        }
    }

    /// The calls that a member may have at one time.
    fn share(&self, member: MemberId) -> Arc<Semaphore> {
        let callers = match self.listener {
            Listener::Peer => self.node.roster(|roster| roster.active().count()),
            Listener::Operator => 1,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.among != callers {
            // Shared out anew. What runs just now runs to its end.
            *calls = Shares { among: callers, ..Shares::default() };
        }
        let share = calls.of_member.entry(member).or_insert_with(|| {
            let share = (self.max_calls / callers.max(1)).clamp(SHARE_MIN, Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(share))
        });
        Arc::clone(share)
    }
}

/// Reads the outcome off an answer: a refusal is in its headers, since it has no body.
fn outcome_of(answer: &Answer) -> (Outcome, Option<String>) {
    let Some(status) = Status::from_header_map(answer.headers()) else {
        return (Outcome::Allowed, None);
    };
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    let outcome = match status.code() {
        tonic::Code::Ok => return (Outcome::Allowed, None),
        tonic::Code::PermissionDenied
        | tonic::Code::Unauthenticated
        | tonic::Code::NotFound
        | tonic::Code::Unimplemented => Outcome::Denied,
        _ => Outcome::Failed,
    };
    (outcome, reason.or_else(|| Some(format!("{:?}", status.code()))))
}

fn bounded(path: &str) -> String {
    path.chars().filter(|c| c.is_ascii_graphic()).take(80).collect()
}

/// The roles that may call, as a sentence has them.
pub(crate) fn role_names(roles: &[Role]) -> String {
    roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ")
}
