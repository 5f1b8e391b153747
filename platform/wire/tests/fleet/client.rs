//! What holds on to a control plane: a data plane, or a control plane that follows.

use crate::lab::{Rng, State, root_of};
use model::{Change, Id, Kind, Record};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use wire::message::{CODEC_RAW, FullBegin, Have, Hello, KindVersion, Partial};
use wire::shrink::Limit;
use wire::{Patch, cp, dp};

pub(crate) const KINDS: [Kind; 4] = [Kind::Service, Kind::Route, Kind::Consumer, Kind::Plugin];

/// An epoch's version and its content.
#[derive(Clone, Default)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) term: u32,
    pub(crate) version: u64,
    pub(crate) state: Arc<State>,
}

impl Held {
    pub(crate) fn have(&self, durable: u64) -> Have {
        let (root, count) = (root_of(&self.state), self.state.len() as u64);
        Have { epoch: self.epoch, applied: self.version, durable, root, count }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        let state = Arc::make_mut(&mut self.state);
        match change {
            Change::Put(record) => drop(state.insert((record.kind, record.id), record.clone())),
            Change::Delete { kind, id } => drop(state.remove(&(*kind, *id))),
        }
    }

    /// The only entity that a patch can mean.
    pub(crate) fn base(&self, patch: &Patch) -> &Record {
        let kind = Kind::from_code(patch.kind).expect("kinds of the lab are known");
        let (low, high) = patch.prefix.range();
        let mut found = self.state.range((kind, low)..=(kind, high)).map(|(_, record)| record);
        let base = found.next().expect("a patch is of what there is");
        assert!(found.next().is_none(), "{patch:?} is of several");
        base
    }
}

/// What has been handed over and not applied yet.
pub(crate) enum Staged {
    Nothing,
    /// A full sync on its way.
    Coming(Held),
    Ready(Ready),
}

/// A complete step.
pub(crate) struct Ready {
    pub(crate) next: Held,
    pub(crate) root: u64,
    /// What a delta changes; none of a whole configuration.
    pub(crate) changes: Option<Vec<Change>>,
}

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Plane(usize),
    Node(u64),
}

/// One connection: bytes on their way, and the control plane's session at its end.
pub(crate) struct Link {
    pub(crate) plane: usize,
    pub(crate) to_cp: VecDeque<u8>,
    pub(crate) to_dp: VecDeque<u8>,
    pub(crate) session: cp::Session,
    pub(crate) report: Option<cp::Report>,
    /// The most bytes that it carries at a time.
    pub(crate) most: u64,
    /// Nothing comes through any more, and nobody knows.
    pub(crate) dead: bool,
    /// The control plane has closed it; what it wrote before still arrives. Of one that is dead nobody knows.
    pub(crate) over: bool,
    /// Whoever waits to be let in until the control plane's own writer has answered that question.
    pub(crate) joining: Option<(Hello, u64)>,
    /// What the control plane's writer is asked because of a PING.
    pub(crate) questions: VecDeque<u64>,
}

pub(crate) struct Client {
    pub(crate) who: Who,
    pub(crate) session: dp::Session,
    pub(crate) link: Option<Link>,
    /// The control planes that it knows, and where it was told to go.
    pub(crate) list: Vec<usize>,
    pub(crate) told: Option<usize>,
    /// Epoch and term of the control plane that welcomed it.
    pub(crate) with: (u64, u32),
    /// What it serves, and what a restart comes back with. A follower's are in its [`super::plane::Plane`].
    pub(crate) live: Held,
    pub(crate) stored: Held,
    pub(crate) staged: Staged,
    /// What is held of a blob; survives cuts, and on a node a crash as far as it was synced.
    pub(crate) blob: Option<(FullBegin, Vec<u8>)>,
    /// Bytes of a full sync that were not reported as processed yet.
    pub(crate) unprocessed: u64,
    pub(crate) limit: Limit,
    pub(crate) confirmed: u64,
    /// The highest durable version that was acknowledged, with its epoch.
    pub(crate) promised: (u64, u64),
    /// The epochs that it was in before, and those that it knows to have been in after a crash.
    pub(crate) left: BTreeSet<u64>,
    pub(crate) left_durably: BTreeSet<u64>,
    /// How far its clock is from that of the world.
    pub(crate) clock: u64,
}

impl Client {
    pub(crate) fn new(who: Who, list: Vec<usize>, rng: &mut Rng) -> Self {
        Self {
            who,
            session: session(who, rng),
            link: None,
            list,
            told: None,
            with: (0, 0),
            live: Held::default(),
            stored: Held::default(),
            staged: Staged::Nothing,
            blob: None,
            unprocessed: 0,
            limit: Limit::percent(if who.is_node() { [100, 100, 50, 10][rng.below(4) as usize] } else { 100 }),
            confirmed: 0,
            promised: (0, 0),
            left: BTreeSet::new(),
            left_durably: BTreeSet::new(),
            clock: rng.below(1_000_000),
        }
    }

    pub(crate) fn partial(&self) -> Option<Partial> {
        let (begin, bytes) = self.blob.as_ref()?;
        Some(Partial { transfer: begin.transfer, offset: bytes.len() as u64 })
    }

    /// What is on its way is lost with the connection.
    pub(crate) fn drop_staged(&mut self) {
        self.staged = Staged::Nothing;
        self.unprocessed = 0;
    }
}

impl Who {
    pub(crate) fn is_node(self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// A session as after a start: settings may be others than before.
pub(crate) fn session(who: Who, rng: &mut Rng) -> dp::Session {
    let (id, name) = match who {
        Who::Plane(plane) => (1_000 + plane as u64, format!("cp-{plane}")),
        Who::Node(node) => (1 + node, format!("node-{node}")),
    };
    let mut identity = dp::Identity::new(Id(u128::from(id)), name, "0.1.0".into());
    identity.kinds = KINDS.iter().map(|kind| KindVersion { kind: kind.code(), body: 1 }).collect();
    identity.incremental = !rng.one_in(12);
    identity.full_window = 4096;
    identity.features = match who {
        Who::Plane(_) => Hello::FOLLOWER | Hello::PATCHES | Hello::RECONCILE | Hello::OVERTAKE | Hello::PARITY,
        // Some are of the first release, which knew no blobs and no patches.
        Who::Node(node) if node % 6 == 5 => 0,
        // And some of the one that knew no parity.
        Who::Node(node) if node % 6 == 4 => {
            Hello::PATCHES | Hello::CONFIRM | Hello::RECONCILE | Hello::MOVED | Hello::OVERTAKE
        }
        Who::Node(_) => {
            let before = Hello::PATCHES | Hello::CONFIRM | Hello::RECONCILE | Hello::MOVED | Hello::OVERTAKE;
            before | Hello::PARITY
        }
    };
    if identity.features == 0 {
        identity.codecs = vec![CODEC_RAW];
    }
    dp::Session::new(identity).unwrap()
}
