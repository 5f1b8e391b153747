//! One control plane and several data planes over a link that delays, cuts, and carries bytes in pieces of any size,
//! with crashes of either end at any step. Thousands of histories, each from a seed that a failure prints.
//!
//! What must hold at every step: a data plane's content is exactly what the control plane had at that version of that
//! epoch (never a mixture), versions never go back within an epoch, and what was acknowledged as durable is there after
//! a crash. What must hold in the end, once the link is left in peace: every data plane that can have the head has it.

mod lab;

use lab::{Db, Key, Rng, State, root_of};
use model::{Change, Id, Kind, Record};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::compat::SyncStatus;
use wire::cp::Source;
use wire::delta::{Entity, NoChange, Op, UnknownKind};
use wire::full::{Unpack, blob};
use wire::message::{CODEC_RAW, FullBegin, Have, Hello, KindVersion, Mode, NackCode, Partial};
use wire::patch::BaseDiffers;
use wire::reconcile::Encoder;
use wire::shrink::Limit;
use wire::{Delta, Patch, PluginVersion, cp, dp};

const SEEDS: u64 = 2_000;
const STEPS: u64 = 400;
const NODES: u64 = 3;
const KINDS: [Kind; 4] = [Kind::Service, Kind::Route, Kind::Consumer, Kind::Plugin];
/// A body that no node accepts.
const POISON: &[u8] = b"poison";

/// What a data plane holds: an epoch's version and its content.
#[derive(Clone, Default)]
struct Held {
    epoch: u64,
    version: u64,
    state: State,
}

impl Held {
    fn have(&self, durable: u64) -> Have {
        let (root, count) = (root_of(&self.state), self.state.len() as u64);
        Have { epoch: self.epoch, applied: self.version, durable, root, count }
    }

    fn apply(&mut self, op: Op) {
        match op.into_change().expect("kinds of the lab are known, and bases were looked for") {
            Change::Put(record) => drop(self.state.insert((record.kind, record.id), record)),
            Change::Delete { kind, id } => drop(self.state.remove(&(kind, id))),
        }
    }

    /// The only entity that a patch can mean.
    fn base(&self, patch: &Patch) -> &Record {
        let kind = Kind::from_code(patch.kind).expect("kinds of the lab are known");
        let (low, high) = patch.prefix.range();
        let mut found = self.state.range((kind, low)..=(kind, high)).map(|(_, record)| record);
        let base = found.next().expect("a patch is of what there is");
        assert!(found.next().is_none(), "{patch:?} is of several");
        base
    }
}

/// What a data plane has been handed and not applied yet.
enum Staged {
    Nothing,
    Full(Held),
    /// With its root, and whether it is a whole configuration.
    Ready(Held, u64, bool),
}

struct Node {
    session: dp::Session,
    live: Held,
    stored: Held,
    staged: Staged,
    /// What is held of a blob, and which; survives cuts, and a crash as far as it was synced.
    held: Option<(FullBegin, Vec<u8>)>,
    /// Bytes of a full sync that were not reported as processed yet.
    unprocessed: u64,
    /// How much may go without a confirmation, and how much somebody has confirmed of what is coming.
    limit: Limit,
    confirmed: u64,
    /// The highest durable version that was acknowledged, with its epoch.
    promised: (u64, u64),
    up: Option<Link>,
}

/// One connection: bytes on their way, and the control plane's session at its end.
struct Link {
    to_cp: VecDeque<u8>,
    to_dp: VecDeque<u8>,
    session: cp::Session,
    report: Option<cp::Report>,
}

struct World {
    rng: Rng,
    now: u64,
    db: Db,
    backup: Db,
    /// All states that any epoch ever had.
    history: BTreeMap<(u64, u64), Arc<State>>,
    config: Arc<cp::Config>,
    nodes: Vec<Node>,
    counts: Counts,
    /// Whether nothing fails any more.
    peace: bool,
}

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Default)]
struct Counts {
    deltas: u64,
    fulls: u64,
    blobs: u64,
    resumed: u64,
    nacks: u64,
    cuts: u64,
    wants: u64,
    holds: u64,
    patches: u64,
    bases_missed: u64,
    reconciles: u64,
    overtakes: u64,
    mends: u64,
}

fn identity(n: u64, incremental: bool) -> dp::Identity {
    let mut identity = dp::Identity::new(Id(u128::from(n) + 1), format!("node-{n}"), "0.1.0".into());
    identity.kinds = KINDS.iter().map(|kind| KindVersion { kind: kind.code(), body: 1 }).collect();
    identity.plugins = vec![PluginVersion { name: "jwt".into(), version: None }];
    identity.incremental = incremental;
    identity.full_window = 4096;
    identity.features |= Hello::PATCHES | Hello::CONFIRM | Hello::RECONCILE | Hello::OVERTAKE | Hello::PARITY;
    if n == 0 {
        // One of them is of the first release, which knew no blobs and no patches.
        (identity.codecs, identity.features) = (vec![CODEC_RAW], 0);
    }
    identity
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let db = Db::new(1 + rng.below(1000));
        let mut config = cp::Config::new(Id(99), "0.1.0".into());
        config.incremental = !rng.one_in(12);
        let nodes = (0..NODES).map(|n| Node {
            session: dp::Session::new(identity(n, !rng.one_in(8))).unwrap(),
            live: Held::default(),
            stored: Held::default(),
            staged: Staged::Nothing,
            held: None,
            unprocessed: 0,
            limit: Limit::percent([100, 50, 10][n as usize % 3]),
            confirmed: 0,
            promised: (0, 0),
            up: None,
        });
        let nodes = nodes.collect();
        let history = BTreeMap::from([((0, 0), Arc::default()), ((db.epoch, 0), Arc::default())]);
        let backup = db.clone();
        Self {
            rng,
            now: 0,
            db,
            backup,
            history,
            config: Arc::new(config),
            nodes,
            counts: Counts::default(),
            peace: false,
        }
    }

    fn step(&mut self) {
        self.now += self.rng.below(2_000);
        let n = self.rng.below(NODES) as usize;
        match self.rng.below(40) {
            0..3 => self.commit(),
            3..11 => self.carry(n, false),
            11..19 => self.carry(n, true),
            19..26 => self.work(n),
            26..32 => self.connect(n),
            32 if self.rng.one_in(4) => self.cut(n),
            33 if self.rng.one_in(4) => self.crash(n),
            34 => self.tick(n),
            35 if self.rng.one_in(3) => self.want(n),
            36 if self.rng.one_in(30) => self.restart_control_plane(),
            37 if self.rng.one_in(10) => self.db.floor = (self.db.floor + self.rng.below(8)).min(self.db.head()),
            38 if self.rng.one_in(8) => self.backup_or_restore(),
            39 if self.rng.one_in(4) => self.confirm(n),
            _ => self.drain(n),
        }
    }

    fn commit(&mut self) {
        let changes = (0..=self.rng.below(4)).map(|_| {
            let kind = KINDS[self.rng.below(KINDS.len() as u64) as usize];
            // Some ids begin alike, some do not.
            let number = u128::from(self.rng.below(12));
            let key: Key = (kind, Id((number % 5) << 120 | number));
            let body = (!self.rng.one_in(3)).then(|| self.body(key));
            (key, body)
        });
        let changes: BTreeMap<_, _> = changes.collect();
        self.db.commit(&changes.into_iter().collect::<Vec<_>>());
        // Now and then a plugin is configured that no node has, and taken out again.
        let missing = PluginVersion { name: "acme".into(), version: None };
        self.db.in_use.plugins = if self.rng.one_in(20) { vec![missing] } else { Vec::new() };
        self.committed();
    }

    fn body(&mut self, key: Key) -> Vec<u8> {
        if self.rng.one_in(120) {
            return POISON.to_vec();
        }
        if let Some(record) = self.db.state().get(&key).cloned()
            && !record.body.is_empty()
            && self.rng.one_in(2)
        {
            let mut body = record.body.to_vec();
            let at = self.rng.below(body.len() as u64) as usize;
            match self.rng.below(3) {
                0 => body[at] = self.rng.below(256) as u8,
                1 => body.insert(at, self.rng.below(256) as u8),
                _ => body.truncate(at),
            }
            return body;
        }
        let length = if self.rng.one_in(30) { 20_000 } else { self.rng.below(300) };
        (0..length).map(|_| self.rng.below(256) as u8).collect()
    }

    fn committed(&mut self) {
        self.history.insert((self.db.epoch, self.db.head()), Arc::clone(self.db.state()));
        for n in 0..self.nodes.len() {
            if let Some(link) = &mut self.nodes[n].up {
                let actions = link.session.head_changed(&self.db);
                self.cp_actions(n, actions);
            }
        }
    }

    fn backup_or_restore(&mut self) {
        if self.rng.one_in(2) {
            self.backup = self.db.clone();
            return;
        }
        self.db = self.backup.clone();
        self.db.epoch = 1_000 + self.rng.next() / 2;
        for (version, state) in self.db.states.iter().enumerate() {
            self.history.insert((self.db.epoch, version as u64), Arc::clone(state));
        }
        self.backup = self.db.clone();
        self.committed();
    }

    fn connect(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.up.is_some() {
            return;
        }
        // The rule for callers: what is staged is finished first.
        if let Staged::Ready(..) = node.staged {
            self.finish(n);
        }
        let node = &mut self.nodes[n];
        node.staged = Staged::Nothing;
        node.unprocessed = 0;
        let session = cp::Session::new(Arc::clone(&self.config), self.now);
        node.up = Some(Link { to_cp: VecDeque::new(), to_dp: VecDeque::new(), session, report: None });
        let durable = if node.stored.epoch == node.live.epoch { node.stored.version } else { 0 };
        let partial =
            |(begin, bytes): &(FullBegin, Vec<u8>)| Partial { transfer: begin.transfer, offset: bytes.len() as u64 };
        node.session.holds(node.held.as_ref().map(partial));
        let actions = node.session.connected(node.live.have(durable), 0, self.now);
        self.dp_actions(n, actions);
    }

    fn cut(&mut self, n: usize) {
        self.counts.cuts += u64::from(self.nodes[n].up.take().is_some());
    }

    fn crash(&mut self, n: usize) {
        self.cut(n);
        let node = &mut self.nodes[n];
        let incremental = !self.rng.one_in(8);
        node.session = dp::Session::new(identity(n as u64, incremental)).unwrap();
        node.staged = Staged::Nothing;
        node.live = node.stored.clone();
        if let Some((_, bytes)) = &mut node.held {
            bytes.truncate(bytes.len() / 1000 * 1000);
        }
        let (epoch, version) = node.promised;
        if node.stored.epoch == epoch {
            assert!(
                node.stored.version >= version,
                "acknowledged as durable: {version}, found {}",
                node.stored.version
            );
        }
        self.check(n);
    }

    fn restart_control_plane(&mut self) {
        for n in 0..self.nodes.len() {
            self.cut(n);
        }
    }

    fn tick(&mut self, n: usize) {
        if self.rng.one_in(25) {
            self.now += 400_000;
        }
        self.tick_both(n);
    }

    fn tick_both(&mut self, n: usize) {
        let actions = self.nodes[n].session.tick(self.now);
        self.dp_actions(n, actions);
        if let Some(link) = &mut self.nodes[n].up {
            let actions = link.session.tick(self.now, &self.db);
            self.cp_actions(n, actions);
        }
    }

    fn want(&mut self, n: usize) {
        if self.nodes[n].up.is_none() {
            return;
        }
        self.counts.wants += 1;
        let wanted = (Kind::Service.code(), Id(u128::from(self.rng.below(14))));
        let actions = self.nodes[n].session.want(&[wanted], self.now);
        self.dp_actions(n, actions);
    }

    /// Somebody looks at what the node holds back, and confirms it.
    fn confirm(&mut self, n: usize) {
        let Some(link) = &mut self.nodes[n].up else { return };
        if let Some(held) = link.report.as_ref().and_then(|report| report.held) {
            let actions = link.session.confirm(held.shrink.gone, &self.db);
            self.cp_actions(n, actions);
        }
    }

    fn drain(&mut self, n: usize) {
        if let Some(link) = &mut self.nodes[n].up {
            let actions = link.session.drained();
            self.cp_actions(n, actions);
        }
    }

    /// Carries some of the bytes that are on their way.
    fn carry(&mut self, n: usize, down: bool) {
        let Some(link) = &mut self.nodes[n].up else { return };
        let queue = if down { &mut link.to_dp } else { &mut link.to_cp };
        let most = if self.rng.one_in(3) { 20 } else { 40_000 };
        let count = (1 + self.rng.below(most) as usize).min(queue.len());
        let bytes: Vec<u8> = queue.drain(..count).collect();
        if bytes.is_empty() {
            return;
        }
        if down {
            let actions = self.nodes[n].session.received(&bytes, self.now);
            self.dp_actions(n, actions);
        } else {
            let actions = link.session.received(&bytes, self.now, &self.db);
            self.cp_actions(n, actions);
        }
    }

    fn cp_actions(&mut self, n: usize, actions: Vec<cp::Action>) {
        for action in actions {
            let Some(link) = &mut self.nodes[n].up else { return };
            match action {
                cp::Action::Send(bytes) => link.to_dp.extend(&bytes),
                cp::Action::Joined(_) => {
                    let actions = link.session.admit(&self.db);
                    self.cp_actions(n, actions);
                }
                cp::Action::Asked => unreachable!("no session here relays"),
                cp::Action::Report(report) => {
                    self.counts.nacks += u64::from(report.nack.is_some());
                    link.report = Some(report);
                }
                cp::Action::Close(cp::Closed::Protocol(error)) => panic!("the control plane blames node {n}: {error}"),
                cp::Action::Close(_) => self.cut(n),
            }
        }
    }

    fn dp_actions(&mut self, n: usize, actions: Vec<dp::Action>) {
        for action in actions {
            let node = &mut self.nodes[n];
            if let dp::Action::FullBegin { begin, .. } = &action {
                node.confirmed = begin.confirmed;
                if let Err(shrink) = node.limit.by_count(node.live.state.len() as u64, begin.count, begin.confirmed) {
                    self.counts.holds += 1;
                    let actions = node.session.held(shrink, self.now);
                    self.dp_actions(n, actions);
                    continue;
                }
            }
            match action {
                dp::Action::Send(bytes) => node.up.iter_mut().for_each(|link| link.to_cp.extend(&bytes)),
                dp::Action::Welcomed(_) | dp::Action::Head(_) => {}
                dp::Action::Stage(delta) => {
                    self.counts.deltas += 1;
                    assert_eq!(node.live.version, delta.from);
                    self.stage(n, delta);
                }
                dp::Action::FullBegin { begin, .. } if begin.is_blob() => {
                    self.counts.blobs += 1;
                    let fits = |(held, _): &(FullBegin, Vec<u8>)| held.transfer == begin.transfer;
                    if !node.held.as_ref().is_some_and(fits) {
                        node.held = Some((begin, Vec::new()));
                    }
                    let offset = node.held.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
                    self.counts.resumed += u64::from(offset > 0);
                    let actions = node.session.full_open(offset, self.now);
                    self.dp_actions(n, actions);
                }
                dp::Action::FullBytes { offset, bytes } => {
                    let Some((_, held)) = &mut node.held else { panic!("bytes of no blob") };
                    assert_eq!(offset, held.len() as u64);
                    held.extend_from_slice(&bytes);
                    let actions = node.session.full_processed(bytes.len() as u64, self.now);
                    self.dp_actions(n, actions);
                }
                dp::Action::FullComplete { epoch, begin } if begin.is_blob() => {
                    let Some((_, bytes)) = node.held.take() else { panic!("the end of no blob") };
                    assert_eq!(blob::digest(&bytes[..]).unwrap(), begin.transfer);
                    let mut entities = Unpack::new(begin, &bytes[..]).unwrap();
                    let mut held = Held { epoch, version: begin.version, state: State::new() };
                    while let Some(entity) = entities.next().unwrap() {
                        held.apply(Op::Put(entity));
                    }
                    node.staged = Staged::Ready(held, begin.root, true);
                }
                dp::Action::FullBegin { epoch, begin: FullBegin { version, .. } } => {
                    self.counts.fulls += 1;
                    node.staged = Staged::Full(Held { epoch, version, state: State::new() });
                    let actions = node.session.full_open(0, self.now);
                    self.dp_actions(n, actions);
                }
                dp::Action::FullChunk { entities, bytes } => {
                    node.unprocessed += bytes;
                    let Staged::Full(held) = &mut node.staged else { panic!("a chunk of no full sync") };
                    for entity in entities {
                        held.apply(Op::Put(entity));
                    }
                }
                dp::Action::FullComplete { begin, .. } => {
                    let Staged::Full(held) = std::mem::replace(&mut node.staged, Staged::Nothing) else {
                        panic!("the end of no full sync")
                    };
                    node.staged = Staged::Ready(held, begin.root, true);
                }
                dp::Action::Symbols { seed, from, until } => {
                    let mut encoder = Encoder::new(seed, from, until);
                    for record in node.live.state.values() {
                        encoder.add(record.kind.code(), record.id, record.tag);
                    }
                    let actions = node.session.symbols(seed, from, &encoder.finish(), self.now);
                    self.dp_actions(n, actions);
                }
                dp::Action::Parity(get) => {
                    let mut answer = lab::parity(&node.live.state, &get);
                    if !self.peace && self.rng.one_in(4) {
                        // A body that cannot be read.
                        answer.bodies.iter_mut().step_by(2).for_each(|body| *body = None);
                    }
                    let actions = node.session.parity(answer, self.now);
                    self.dp_actions(n, actions);
                }
                dp::Action::Reconciled { epoch, step } => {
                    self.counts.reconciles += 1;
                    self.counts.mends += step.mends.len() as u64;
                    node.confirmed = step.confirmed;
                    let state =
                        lab::reconciled(&node.live.state, &step).expect("a patch is of the body that was told of");
                    if !step.mends.is_empty() && !self.peace && self.rng.one_in(8) {
                        // It was there a moment ago.
                        self.counts.bases_missed += 1;
                        let actions = self.nodes[n].session.base_missing(&[], self.now);
                        self.dp_actions(n, actions);
                        continue;
                    }
                    let held = Held { epoch, version: step.version, state };
                    node.staged = Staged::Ready(held, step.root, true);
                }
                dp::Action::Close(dp::Closed::Protocol(error)) => panic!("node {n} blames the control plane: {error}"),
                dp::Action::Close(_) => self.cut(n),
            }
        }
    }

    /// A node makes of a delta what it is to have; or asks for what it cannot make of its patches.
    fn stage(&mut self, n: usize, delta: Delta) {
        let mut next = self.nodes[n].live.clone();
        next.version = delta.to;
        let mut missing = Vec::new();
        for op in delta.ops {
            let Op::Patch(patch) = op else {
                next.apply(op);
                continue;
            };
            self.counts.patches += 1;
            let base = self.nodes[n].live.base(&patch);
            let mut body = base.body.to_vec();
            if !self.peace && self.rng.one_in(8) {
                body.push(1);
            }
            match patch.apply(base.id, &body) {
                Ok(entity) => next.apply(Op::Put(entity)),
                Err(BaseDiffers) => missing.push((patch.kind, base.id)),
            }
        }
        if missing.is_empty() {
            self.nodes[n].staged = Staged::Ready(next, delta.root, false);
            return;
        }
        self.counts.bases_missed += 1;
        if self.rng.one_in(4) {
            missing.clear();
        }
        let actions = self.nodes[n].session.base_missing(&missing, self.now);
        self.dp_actions(n, actions);
    }

    /// A node goes on with what it has been handed.
    fn work(&mut self, n: usize) {
        let full_fails = self.fails(40);
        match &self.nodes[n].staged {
            Staged::Nothing => {}
            Staged::Full(_) if full_fails => self.reject(n, NackCode::Resources),
            Staged::Full(_) => {
                let node = &mut self.nodes[n];
                let bytes = std::mem::take(&mut node.unprocessed);
                let actions = node.session.full_processed(bytes, self.now);
                self.dp_actions(n, actions);
            }
            Staged::Ready(..) => self.finish(n),
        }
    }

    /// Whether something that fails once in `n` times fails now.
    fn fails(&mut self, n: u64) -> bool {
        !self.peace && self.rng.one_in(n)
    }

    fn reject(&mut self, n: usize, code: NackCode) {
        let node = &mut self.nodes[n];
        node.staged = Staged::Nothing;
        node.unprocessed = 0;
        let message = "ü".repeat(150);
        let rejection = dp::Rejection { code, entity: Some((1, Id(1))), path: "host".into(), message };
        let actions = node.session.rejected(rejection, self.now);
        self.dp_actions(n, actions);
    }

    fn finish(&mut self, n: usize) {
        let (disk_fails, power_fails) = (self.fails(6), self.fails(10));
        let node = &mut self.nodes[n];
        let Staged::Ready(next, root, full) = std::mem::replace(&mut node.staged, Staged::Nothing) else { return };
        if root_of(&next.state) != root {
            // Cannot come from this control plane: its steps are exact, and so are the nodes.
            panic!("root of version {} differs", next.version);
        }
        let gone = node.live.state.keys().filter(|key| !next.state.contains_key(key)).count() as u64;
        if full && let Err(shrink) = node.limit.judge(node.live.state.len() as u64, gone, node.confirmed) {
            self.counts.holds += 1;
            let actions = node.session.held(shrink, self.now);
            return self.dp_actions(n, actions);
        }
        if next.state.values().any(|record| record.body.as_ref() == POISON) {
            return self.reject(n, NackCode::Invalid);
        }
        let version = next.version;
        assert!(next.epoch != node.live.epoch || version >= node.live.version, "a version went back");
        let mut actions = Vec::new();
        // A store that cannot be written leaves a version live and not durable.
        let durable = !disk_fails;
        if durable {
            node.stored = next.clone();
            if power_fails {
                // Power cut between commit and swap.
                node.live = next;
                return self.crash(n);
            }
            actions.extend(node.session.durable(version, self.now));
        }
        node.live = next;
        actions.extend(node.session.applied(version, self.now));
        let goes_on = actions.iter().any(|action| matches!(action, dp::Action::Stage(_)));
        self.counts.overtakes += u64::from(goes_on);
        if !durable && self.rng.one_in(2) {
            node.stored = node.live.clone();
            actions.extend(node.session.durable(version, self.now));
        }
        let have = node.session.have();
        if have.epoch == node.live.epoch && node.up.is_some() {
            let stored = if node.stored.epoch == have.epoch { node.stored.version } else { 0 };
            assert!(have.durable <= stored, "says durable {}, stored is {stored}", have.durable);
            node.promised = (have.epoch, have.durable);
        }
        self.dp_actions(n, actions);
        self.check(n);
    }

    /// The content of a node is one that the control plane had.
    fn check(&self, n: usize) {
        let live = &self.nodes[n].live;
        let expected = &self.history[&(live.epoch, live.version)];
        // What a reconcile into another epoch finds to be the same keeps the version that it had.
        let content = |record: &Record| Record { version: 0, ..record.clone() };
        let same = live.state.values().map(content).eq(expected.values().map(content));
        assert!(same, "node {n} has a mixture at {}:{}", live.epoch, live.version);
    }

    /// Nothing fails any more: everything is carried, until nothing happens.
    fn settle(&mut self) {
        self.peace = true;
        // The last word heals: nothing that is refused, nothing that is missing.
        let everything: Vec<_> = self.db.state().keys().copied().collect();
        self.db.commit(&everything.into_iter().map(|key| (key, Some(b"good".to_vec()))).collect::<Vec<_>>());
        self.db.in_use.plugins.clear();
        self.committed();
        for _ in 0..400 {
            self.now += 1_000;
            for n in 0..self.nodes.len() {
                self.connect(n);
                self.tick_both(n);
                for _ in 0..4 {
                    self.carry(n, true);
                    self.carry(n, false);
                    self.drain(n);
                    self.work(n);
                }
                self.confirm(n);
            }
        }
    }

    fn check_settled(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            assert_eq!(
                (node.live.epoch, node.live.version),
                (self.db.epoch, self.db.head()),
                "node {n} has not caught up"
            );
            let report = node.up.as_ref().and_then(|link| link.report.clone()).expect("a report");
            let Held { epoch, version, .. } = node.live;
            assert_eq!((report.epoch, report.applied, report.in_flight), (epoch, version, None));
            assert_eq!((report.status, report.mode, report.nack), (SyncStatus::Normal, Mode::Same, None));
            assert!(report.durable <= version);
        }
    }
}

/// Prints the seed when the thread panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation failed; replay it with SEED={}", self.0);
        }
    }
}

/// Runs the history of a seed.
fn run(seed: u64) -> Counts {
    let _seed = Seed(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world.check_settled();
    world.counts
}

#[test]
fn histories_that_once_failed_go_well() {
    // The word that a version is durable crossed a step that ends at that version, and was taken for its ACK.
    run(31_222);
}

#[test]
fn every_node_ends_up_with_the_head_and_never_has_a_mixture() {
    let mut total = Counts::default();
    let seeds = lab::seeds(SEEDS);
    let histories = seeds.end - seeds.start;
    for seed in seeds {
        let counts = run(seed);
        let Counts {
            deltas,
            fulls,
            blobs,
            resumed,
            nacks,
            cuts,
            wants,
            holds,
            patches,
            bases_missed,
            reconciles,
            overtakes,
            mends,
        } = counts;
        total.deltas += deltas;
        total.fulls += fulls;
        total.blobs += blobs;
        total.resumed += resumed;
        total.nacks += nacks;
        total.cuts += cuts;
        total.wants += wants;
        total.holds += holds;
        total.reconciles += reconciles;
        total.overtakes += overtakes;
        total.mends += mends;
        total.patches += patches;
        total.bases_missed += bases_missed;
    }
    if histories >= SEEDS {
        let Counts {
            deltas,
            fulls,
            blobs,
            resumed,
            nacks,
            cuts,
            wants,
            holds,
            patches,
            bases_missed,
            reconciles,
            overtakes,
            mends,
        } = total;
        println!(
            "{deltas} deltas, {fulls} full syncs entity by entity, {blobs} blobs ({resumed} resumed), {nacks} refusals, {cuts} cuts, {wants} wants, {holds} held back, {patches} patches ({bases_missed} steps came back), {reconciles} reconciles ({mends} patches), {overtakes} steps that overtook a full sync"
        );
        for count in [
            deltas,
            fulls,
            blobs,
            resumed * 10,
            nacks,
            cuts,
            wants,
            holds * 10,
            patches,
            bases_missed * 5,
            reconciles * 4,
            overtakes * 4,
            mends * 60,
        ] {
            assert!(count > histories, "too little happened");
        }
    }
}

#[test]
fn an_entity_of_an_unknown_kind_reaches_the_caller_by_its_code() {
    let entity = Entity { kind: 200, id: Id(5), version: 1, tag: 2, body: b"x".as_slice().into() };
    let unknown = UnknownKind { kind: 200, id: Id(5) };
    assert_eq!(Op::Put(entity).into_change(), Err(NoChange::UnknownKind(unknown)));
}
