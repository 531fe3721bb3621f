//! The links of one worker to other nodes: one for each address and protocol, opened when needed, closed when it has
//! been idle, when its node is silent or no longer a member.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::base::limits::GATEWAY_TICK_MS;
use crate::cluster::route::View;
use crate::cluster::table::Member;
use crate::hub::Hub;
use crate::resp::reply::Proto;
use crate::server::gateway::link::Link;

/// The links of a worker.
pub struct Pool {
    hub: Arc<Hub>,
    links: RefCell<HashMap<(SocketAddr, bool), Rc<Link>>>,
    /// Those that one connection has for itself: at most two for each, one to watch and one to wait.
    own: RefCell<Vec<Weak<Link>>>,
}

impl Pool {
    /// Without links.
    pub fn new(hub: &Arc<Hub>) -> Self {
        Self { hub: Arc::clone(hub), links: RefCell::default(), own: RefCell::default() }
    }

    /// The link to an address, in a protocol.
    pub fn link(&self, address: SocketAddr, proto: Proto) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        let key = (address, proto == Proto::Resp3);
        match links.get(&key) {
            Some(link) if !link.has_ended() => Rc::clone(link),
            _ => {
                let link = Link::open(&self.hub, address, proto);
                links.insert(key, Rc::clone(&link));
                link
            }
        }
    }

    /// A link that nobody else uses.
    pub fn own_link(&self, address: SocketAddr, proto: Proto) -> Rc<Link> {
        let link = Link::open(&self.hub, address, proto);
        self.own.borrow_mut().push(Rc::downgrade(&link));
        link
    }

    /// Looks after the links for as long as the worker runs.
    pub async fn look_after(&self) {
        loop {
            sleep(Duration::from_millis(GATEWAY_TICK_MS)).await;
            if !self.links.borrow().is_empty() || !self.own.borrow().is_empty() {
                self.close_stale();
            }
        }
    }

    fn close_stale(&self) {
        let view = self.hub.cluster.routes.view();
        let now_ns = self.hub.clock.mono_ns();
        let lives = |link: &Link| {
            let is_here = |member: &Member| address_of(member) == link.address();
            let is_over = match link.awaits() {
                Some(slot) => link.is_waited_out(now_ns, view.owner(slot).is_some_and(is_here)),
                None => link.is_stale(now_ns, view.table.members.iter().any(is_here)),
            };
            if is_over {
                link.close();
            }
            !link.has_ended()
        };
        self.links.borrow_mut().retain(|_, link| lives(link));
        self.own.borrow_mut().retain(|link| link.upgrade().is_some_and(|link| lives(&link)));
    }
}

/// Where another node takes clients: at the address that it announces, or, if that is a name, at the one by which nodes
/// reach it.
pub fn address_of(member: &Member) -> SocketAddr {
    let ip = member.client.host.parse::<IpAddr>().unwrap_or_else(|_| member.peer.ip());
    SocketAddr::new(ip, member.client.port)
}

/// Where a MOVED leads.
pub fn address_of_moved(view: &View, reply: &[u8]) -> Option<SocketAddr> {
    let line = str::from_utf8(reply).ok()?.trim_end();
    let (host, port) = line.rsplit(' ').next()?.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let member =
        view.table.members.iter().find(|member| member.client.host == host && member.client.port == port);
    match member {
        Some(member) => Some(address_of(member)),
        None => host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port)),
    }
}
