//! How a session begins: what HELLO says is noted, the caller's yes or no becomes a WELCOME.

use super::{Action, Closed, Session, Source, State};
use crate::PROTO;
use crate::compat;
use crate::limits::{INCOMPATIBLE_RETRY_S, REPLACED_RETRY_S, clip};
use crate::message::{Hello, Message, Mode, RefuseReason, Welcome};
use crate::succession::replaces;
use std::sync::Arc;

impl Session {
    pub(super) fn hello(&mut self, hello: Hello, out: &mut Vec<Action>) {
        let have = hello.have;
        (self.report.epoch, self.report.applied, self.report.durable) = (have.epoch, have.applied, have.durable);
        self.root = have.root;
        self.report.incremental = self.config.incremental && hello.incremental;
        self.patching.taken = hello.has(Hello::PATCHES);
        let spoken = (hello.proto_min..=hello.proto_max).contains(&PROTO);
        let node = Arc::new(hello);
        self.node = Some(Arc::clone(&node));
        self.state = State::Joined;
        if spoken {
            out.push(Action::Joined(node));
        } else {
            let message = format!("control plane speaks protocol version {PROTO}");
            self.refuse_with(RefuseReason::Proto, INCOMPATIBLE_RETRY_S, message, out);
        }
    }

    /// The node of [`Action::Joined`] may connect.
    pub fn admit(&mut self, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        let (State::Joined, Some(node)) = (&self.state, self.node.clone()) else { return out };
        if let Err(reason) = compat::core(&self.config.software, &node.software) {
            let text = reason.to_string();
            (self.report.status, self.report.reason) = (reason.status(), text.clone());
            self.report.withheld = vec![reason];
            self.refuse_with(RefuseReason::Software, INCOMPATIBLE_RETRY_S, text, &mut out);
            return out;
        }
        if replaces((node.term, node.have.epoch), (source.term(), source.epoch())) {
            let (term, ours) = (node.term, source.term());
            let why = format!("the node has been in term {term} of the cluster; this control plane is of term {ours}");
            self.refuse_with(RefuseReason::Replaced, REPLACED_RETRY_S, why, &mut out);
            return out;
        }
        self.state = State::Live;
        self.epoch = source.epoch();
        let heartbeat_s = self.config.heartbeat_s(node.heartbeat_s);
        self.heartbeat_ms = u64::from(heartbeat_s) * 1000;
        self.decide(source);
        let welcome = Welcome {
            proto: PROTO,
            cluster: self.config.cluster,
            epoch: self.epoch,
            head: source.head(),
            root: source.root(),
            heartbeat_s,
            incremental: self.report.incremental,
            mode: self.report.mode,
            message: clip(self.report.reason.clone()),
            term: source.term(),
        };
        self.send(&Message::Welcome(welcome), &mut out);
        self.pump(source, &mut out);
        out
    }

    /// The node of [`Action::Joined`] may not connect.
    pub fn refuse(&mut self, why: RefuseReason, retry_after_s: u32, message: &str) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::Joined) {
            self.refuse_with(why, retry_after_s, message.to_owned(), &mut out);
        }
        out
    }

    pub(super) fn refuse_with(
        &mut self,
        why: RefuseReason,
        retry_after_s: u32,
        message: String,
        out: &mut Vec<Action>,
    ) {
        let message = clip(message);
        let mode = Mode::Refuse { why, retry_after_s };
        let welcome = Welcome {
            proto: PROTO,
            cluster: self.config.cluster,
            epoch: 0,
            head: 0,
            root: 0,
            heartbeat_s: 0,
            incremental: false,
            mode,
            message: message.clone(),
            term: 0,
        };
        self.report.mode = mode;
        self.send(&Message::Welcome(welcome), out);
        self.state = State::Closed;
        out.push(Action::Report(self.report.clone()));
        out.push(Action::Close(Closed::Refused { why, message }));
    }
}
