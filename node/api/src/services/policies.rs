//! `PolicyService`.

use comity_core::access::Touched;
use comity_core::{MemberId, Timestamp};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse};
use crate::services::records::record_id;
use crate::services::service;
use crate::status;

service!(Policies);

fn party(text: &str, scope: &crate::AccessScope) -> Result<MemberId, Status> {
    let party: MemberId = parse("party", text)?;
    scope.touch(Touched::resource(format!("policy/{party}")));
    Ok(party)
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

fn problems(invalid: &comity_policy::InvalidPolicy) -> Vec<String> {
    invalid.problems.iter().map(ToString::to_string).collect()
}

#[tonic::async_trait]
impl v1::policy_service_server::PolicyService for Policies {
    async fn check_policy(
        &self,
        request: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let answer = match self.node.check_policy(party, &request.text).map_err(status::of)? {
            Ok(policy) => v1::CheckPolicyResponse {
                valid: true,
                problems: Vec::new(),
                warnings: policy.warnings_at(now()).iter().map(ToString::to_string).collect(),
                policy_ids: policy.ids().iter().map(|id| id.as_str().to_owned()).collect(),
            },
            Err(invalid) => v1::CheckPolicyResponse {
                valid: false,
                problems: problems(&invalid),
                warnings: Vec::new(),
                policy_ids: Vec::new(),
            },
        };
        Ok(Response::new(answer))
    }

    async fn test_policy(
        &self,
        request: Request<v1::TestPolicyRequest>,
    ) -> Result<Response<v1::TestPolicyResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let replaced = match request.party.as_str() {
            "" => None,
            text => Some((party(text, &scope)?, request.text.as_str())),
        };
        let tested = self.node.test_policy(replaced, &request.cases).map_err(status::of)?;
        Ok(Response::new(match tested {
            Ok(outcomes) => v1::TestPolicyResponse {
                problems: Vec::new(),
                outcomes: outcomes.into_iter().map(convert::case_outcome).collect(),
            },
            Err(invalid) => v1::TestPolicyResponse { problems: problems(&invalid), outcomes: Vec::new() },
        }))
    }

    async fn explain_release(
        &self,
        request: Request<v1::ExplainReleaseRequest>,
    ) -> Result<Response<v1::ExplainReleaseResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let record = record_id("record", &request.record, &scope)?;
        let party = party(&request.party, &scope)?;
        let explained = self.node.explain_release(&caller.peer.id, record, party).await.map_err(status::of)?;
        Ok(Response::new(convert::explanation(explained)))
    }

    async fn simulate_policy(
        &self,
        request: Request<v1::SimulatePolicyRequest>,
    ) -> Result<Response<v1::SimulatePolicyResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let simulated = self.node.simulate_policy(&caller.peer.id, party, &request.text).await.map_err(status::of)?;
        Ok(Response::new(match simulated {
            Ok(simulation) => convert::simulation(simulation),
            Err(invalid) => v1::SimulatePolicyResponse { problems: problems(&invalid), ..Default::default() },
        }))
    }

    async fn apply_policy(&self, request: Request<v1::ApplyPolicyRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let asked = self.node.ask_policy(&caller.peer.id, party, request.text).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn get_policy(&self, request: Request<v1::GetPolicyRequest>) -> Result<Response<v1::Policy>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let Ok(version @ 1..) = u64::try_from(request.version) else {
            let view = self.node.policy(party).await.map_err(status::of)?;
            return Ok(Response::new(convert::policy(view, true)));
        };
        let found = self.node.policy_history(party, Some(version.saturating_add(1)), 1).await.map_err(status::of)?;
        let found = found.into_iter().find(|found| found.ordinal == version);
        let found = found.ok_or_else(|| status::of(comity_app::AppError::NotFound("version of this policy")))?;
        Ok(Response::new(convert::policy_version(found, true)))
    }

    async fn list_policy_versions(
        &self,
        request: Request<v1::ListPolicyVersionsRequest>,
    ) -> Result<Response<v1::ListPolicyVersionsResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let size = convert::page_size(request.page_size)?;
        let before = convert::parse_optional::<u64>("page_token", &request.page_token)?;
        let found = self.node.policy_history(party, before, size).await.map_err(status::of)?;
        let next_page_token = match found.last() {
            Some(last) if found.len() >= size => last.ordinal.to_string(),
            _ => String::new(),
        };
        let policies = found.into_iter().map(|version| convert::policy_version(version, false)).collect();
        Ok(Response::new(v1::ListPolicyVersionsResponse { policies, next_page_token }))
    }

    async fn apply_people(&self, request: Request<v1::ApplyPeopleRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("people"));
        let asked = self.node.ask_people(&caller.peer.id, &request.into_inner().document).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn get_people(&self, request: Request<v1::GetPeopleRequest>) -> Result<Response<v1::Policy>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("people"));
        let found = self.node.people().await.map_err(status::of)?;
        Ok(Response::new(convert::policy_version(found, true)))
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let (_, scope) = context(&request)?;
        let all = self.node.policies().await.map_err(status::of)?;
        scope.touch_all(all.iter().map(|p| Touched::resource(format!("policy/{}", p.applied.party))));
        let policies = all.into_iter().map(|p| convert::policy(p, false)).collect();
        Ok(Response::new(v1::ListPoliciesResponse { policies }))
    }
}
