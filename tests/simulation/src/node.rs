//! What runs on a member's machine: its node, and its people who hand things in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use comity_consensus::simulation::SimulatedConfig;
use comity_consensus::{Consensus, Timing, Tuning};
use comity_core::list::ListState;
use tonic::transport::Server;

use crate::clients;
use crate::network::WeatherLayer;
use crate::world::{Shared, elapsed};

/// Runs until the machine is crashed.
pub(crate) async fn run(world: Shared, machine: usize) -> turmoil::Result {
    let bootstrap = seat(&world, machine).await;
    let (config, network) = {
        let mut world = world.borrow_mut();
        let member = world.machines[machine].member;
        world.line(elapsed(), &format!("{member} starts"));
        let config = SimulatedConfig {
            disk: world.machines[machine].disk.clone(),
            genesis: world.federation.genesis.clone(),
            member,
            incarnation: 1,
            bootstrap,
            dialler: world.network.dialler(member),
            timing: Timing { heartbeat_ms: 150, election_min_ms: 600, election_max_ms: 1_200 },
            // Nodes that were away find the log purged, and what is omitted comes back soon.
            tuning: Tuning { snapshot_every_entries: 40, keep_entries: 5, resubmit_ms: 1_000 },
        };
        (config, world.network.clone())
    };
    let member = config.member;
    let consensus = Consensus::open_simulated(config).await?;
    let incoming = network.listen(member).await?;
    let service = consensus.service().ok_or("every node that is simulated takes part")?.into_server();
    let server = Server::builder().layer(WeatherLayer(network)).add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    consensus.start().await?;
    world.borrow_mut().machines[machine].consensus = Some(consensus.clone());
    clients::run(Rc::clone(&world), machine, consensus).await;
    Ok(())
}

/// Waits until the members have admitted whoever was not there from the beginning, who then starts with their list.
async fn seat(world: &Shared, machine: usize) -> Option<Arc<ListState>> {
    loop {
        {
            let world = world.borrow();
            let member = world.machines[machine].member;
            if world.federation.genesis.member(member).is_some() {
                return None;
            }
            let list = world.furthest(|list| list.roster().voters().contains_key(&member).then(|| list.clone()));
            if let Some(list) = list.flatten() {
                return Some(Arc::new(list));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
