//! The sessions with nodes that are up: how many there are, and how to send one of them to another control plane. Lives
//! on the thread of the cluster port, as they do.

use crate::planes::{Moved, Planes};
use crate::sync::balance::Balance;
use model::Id;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};

/// How often it is told and judged how many nodes each control plane serves.
const EVERY: Duration = Duration::from_secs(1);

/// All sessions with nodes, the newest last.
#[derive(Default)]
pub(super) struct Crowd {
    members: RefCell<BTreeMap<u64, Rc<Member>>>,
    /// Which of them is a node's.
    by_node: RefCell<HashMap<Id, u64>>,
    joined: Cell<u64>,
}

/// A session with a node.
pub(super) struct Member {
    node: Id,
    movable: bool,
    order: RefCell<Option<Order>>,
    woken: Notify,
}

/// What a session is to do.
pub(super) enum Order {
    /// Send the node elsewhere.
    Move(Move),
    /// End: the node has another session by now.
    End,
}

/// Where a node is to go, and who wants to know what came of it.
pub(super) struct Move {
    pub(super) to: String,
    reply: Option<oneshot::Sender<Moved>>,
}

/// A place in the crowd; given up when dropped.
pub(super) struct Place {
    crowd: Rc<Crowd>,
    number: u64,
    member: Rc<Member>,
}

impl Crowd {
    /// A node's session is up. `movable`: it goes where it is told to. An older session of the same node ends: most likely
    /// that connection is dead, and nobody has noticed yet. It counts no longer, however long its end takes.
    pub(super) fn join(self: &Rc<Self>, node: Id, movable: bool) -> Place {
        let number = self.joined.get();
        self.joined.set(number + 1);
        let before = self.by_node.borrow_mut().insert(node, number);
        if let Some(member) = before.and_then(|before| self.members.borrow_mut().remove(&before)) {
            member.order(Order::End);
        }
        let member = Rc::new(Member { node, movable, order: RefCell::default(), woken: Notify::new() });
        self.members.borrow_mut().insert(number, member.clone());
        Place { crowd: self.clone(), number, member }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// How many there are beside this node.
    pub(super) fn others(&self, node: Id) -> usize {
        self.len() - usize::from(self.by_node.borrow().contains_key(&node))
    }

    /// Carries out orders, tells others how many nodes there are, and sends away those that are too many, until `stop`.
    pub(super) async fn run(self: Rc<Self>, planes: &Planes, mut stop: watch::Receiver<bool>) {
        let started = Instant::now();
        let mut orders = planes.orders();
        let mut every = tokio::time::interval(EVERY);
        let mut balance = Balance::new(0);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                Some((node, to, reply)) = orders.recv() => self.send(node, to, reply),
                _ = every.tick() => {
                    let own = u32::try_from(self.len()).unwrap_or(u32::MAX);
                    planes.refresh(own);
                    let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    if let Some((to, count)) = balance.due(own, &planes.others(), now) {
                        self.send_newest(to, count);
                    }
                }
            }
        }
    }

    fn send(&self, node: Id, to: String, reply: oneshot::Sender<Moved>) {
        let members = self.members.borrow();
        match self.by_node.borrow().get(&node).and_then(|number| members.get(number)) {
            Some(member) if member.movable => member.order(Order::Move(Move { to, reply: Some(reply) })),
            Some(_) => drop(reply.send(Moved::Unable)),
            None => drop(reply.send(Moved::Absent)),
        }
    }

    /// The newest have been here for the shortest time; each that is busy stays, and is asked again later.
    fn send_newest(&self, to: &str, count: u32) {
        let members = self.members.borrow();
        let movable = members.values().rev().filter(|member| member.movable);
        for member in movable.take(usize::try_from(count).unwrap_or(usize::MAX)) {
            member.order(Order::Move(Move { to: to.to_owned(), reply: None }));
        }
    }
}

impl Member {
    fn order(&self, order: Order) {
        self.order.replace(Some(order));
        self.woken.notify_one();
    }
}

impl Place {
    /// Waits until this session is to do something.
    pub(super) async fn ordered(&self) -> Order {
        loop {
            if let Some(order) = self.member.order.take() {
                return order;
            }
            self.member.woken.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members.borrow_mut().remove(&self.number);
        let mut by_node = self.crowd.by_node.borrow_mut();
        if by_node.get(&self.member.node) == Some(&self.number) {
            by_node.remove(&self.member.node);
        }
    }
}

impl Move {
    /// Tells whoever gave the order whether the node went.
    pub(super) fn done(self, went: bool) {
        if let Some(reply) = self.reply {
            let _ = reply.send(if went { Moved::Gone } else { Moved::Busy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_comes_back_ends_its_older_session_and_counts_once() {
        let crowd = Rc::new(Crowd::default());
        let old = crowd.join(Id(1), true);
        let other = crowd.join(Id(2), true);
        assert_eq!((crowd.len(), crowd.others(Id(1))), (2, 1), "that it is here already is no reason to refuse it");
        let new = crowd.join(Id(1), true);
        assert_eq!(crowd.len(), 2);
        assert!(matches!(old.ordered().await, Order::End));
        // An order that the older one had not carried out is for nobody.
        drop(old);
        assert_eq!(crowd.len(), 2, "its end takes nothing from the newer one");
        let (reply, answer) = oneshot::channel();
        crowd.send(Id(1), "b:1".to_owned(), reply);
        let Order::Move(order) = new.ordered().await else { panic!("it is the newest") };
        order.done(true);
        assert_eq!(answer.await, Ok(Moved::Gone));
        drop((new, other));
        assert_eq!(crowd.len(), 0);
    }
}
