//! What the two programs keep in their stores beside bodies: where a content came from, and what a changelog knows.

use crate::plant;
use cp_lite::changelog::fuzzing;
use gateway::state::{Meta, Source};

/// The first byte chooses: the meta of a data plane, the meta of a changelog, one of its records.
pub(crate) fn meta(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 3 {
        0 => {
            let Some(meta) = Meta::from_bytes(bytes) else { return };
            assert_eq!(Meta::from_bytes(&meta.to_bytes()).as_ref(), Some(&meta));
            plant(meta.term > 0 && meta.source != Source::ControlPlane, "meta");
        }
        1 => drop(fuzzing::meta(bytes)),
        _ => drop(fuzzing::record(bytes)),
    }
}

pub(crate) fn meta_seeds() -> Vec<Vec<u8>> {
    let meta = |source, term| Meta { epoch: 7, version: 300, root: 5, count: 2, source, term }.to_bytes();
    let mut nodes = vec![meta(Source::ControlPlane, 3), meta(Source::File { hash: 9 }, 0)];
    // As the first release wrote it.
    nodes.push(nodes[1][..nodes[1].len() - 1].to_vec());
    let [metas, records] = fuzzing::seeds();
    let led = |which: u8, all: Vec<Vec<u8>>| all.into_iter().map(move |bytes| [vec![which], bytes].concat());
    led(0, nodes).chain(led(1, metas)).chain(led(2, records)).collect()
}
