//! What a launched worker is told first: who it is, and where in the heap it finds what.
//!
//! Seven numbers, as bytes that travel with the launch. What it does not do: it says nothing of the
//! pool's own setup but where that lies.

use std::io;

/// What a launched worker reads first.
pub(crate) struct Note {
    pub(crate) worker: u64,
    pub(crate) party: u32,
    pub(crate) root: u32,
    pub(crate) lane: u64,
    pub(crate) bell: u64,
    pub(crate) setup: (u64, u64),
}

impl Note {
    const N_WORDS: usize = 7;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (setup_at, setup_len) = self.setup;
        let numbers: [u64; Self::N_WORDS] = [
            self.worker,
            self.party.into(),
            self.root.into(),
            self.lane,
            self.bell,
            setup_at,
            setup_len,
        ];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let numbers: Vec<u64> =
            bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        let [worker, party, root, lane, bell, setup_at, setup_len] = numbers[..] else {
            let text = "parent and worker must run the same version of manyhands";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let (party, root) = (party as u32, root as u32);
        Ok(Self { worker, party, root, lane, bell, setup: (setup_at, setup_len) })
    }
}
