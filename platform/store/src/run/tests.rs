use super::*;
use crate::Mode;
use crate::{Encryption, Secret};

fn key(n: u8) -> Key {
    Key { table: 0, kind: 1, id: [n; 16] }
}

type Records = Vec<(Key, Option<Vec<u8>>)>;

fn records(run: &Run) -> Result<Records, TreeError> {
    let (mut cursor, mut all) = (Cursor::new(run)?, Vec::new());
    while let Some(key) = cursor.key() {
        all.push((key, cursor.value().map(<[u8]>::to_vec)));
        cursor.advance()?;
    }
    Ok(all)
}

#[test]
fn a_sealed_run_gives_back_what_was_sealed_and_one_of_before_runs_were_sealed_does_too() {
    let encryption = Encryption { mode: Mode::Aes256Gcm, secret: Some(Secret::new(b"secret")), former: None };
    let cipher = Cipher::new(&encryption).unwrap().unwrap();
    let value = |n: u8| cipher.seal(What::Record(&key(n)), vec![b'x'; usize::from(n) * 9].into()).unwrap().to_vec();
    let all: Vec<_> = (0..250).map(|n| (key(n), (n % 7 != 0).then(|| value(n)))).collect();
    let (root, span) = (Root { seq: 9, ..Root::default() }, Span { from: 0, to: 9 });
    let mut sizes = Vec::new();
    for writes in [&cipher, &Cipher::none()] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&Home::new(dir.path(), 3, writes), span).unwrap();
        for (key, value) in &all {
            writer.put(key, value.as_deref()).unwrap();
        }
        sizes.push(writer.finish(&root).unwrap().bytes());
        let run = Run::open(&Home::new(dir.path(), 3, &cipher), span).unwrap();
        assert!(records(&run).unwrap() == all);
        assert!(run.get(&key(8)).unwrap() == Some(all[8].1.clone()));
        // Under another key nothing comes out of a sealed run.
        let other = Cipher::new(&encryption).unwrap().unwrap();
        let run = Run::open(&Home::new(dir.path(), 3, &other), span).unwrap();
        assert_eq!(records(&run).is_err(), writes.mode() != Mode::Off);
    }
    assert!(sizes[0] * 10 < sizes[1], "{sizes:?}");
}

#[test]
fn a_value_that_its_key_does_not_open_is_not_archived() {
    let encryption = Encryption { mode: Mode::Aes256Gcm, secret: Some(Secret::new(b"secret")), former: None };
    let cipher = Cipher::new(&encryption).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(&Home::new(dir.path(), 3, &cipher), Span { from: 0, to: 1 }).unwrap();
    assert!(writer.put(&key(1), Some(b"not sealed by anybody, and long enough")).is_err());
}
