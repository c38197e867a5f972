//! A gzip stream that is small on the wire and big when it is decompressed.

use flate2::{Compress, Compression, Crc, FlushCompress};

const BLOCK: usize = 1024 * 1024;

/// White space, so many mebibytes of it, in about a thousandth of that. The stream is whole: its checksum and length are right.
pub(crate) fn gzip(mebibytes: u32) -> Vec<u8> {
    let plain = vec![b' '; BLOCK];
    let mut block = Vec::with_capacity(BLOCK / 256);
    // A full flush ends on a byte and forgets what came before, so that the block can stand behind itself.
    let made = Compress::new(Compression::best(), false).compress_vec(&plain, &mut block, FlushCompress::Full);
    debug_assert!(made.is_ok() && block.len() < block.capacity());
    let mut once = Crc::new();
    once.update(&plain);
    // RFC 1952: magic, deflate, no flags, no time, best compression, system unknown.
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    let mut sum = Crc::new();
    for _ in 0..mebibytes {
        stream.extend_from_slice(&block);
        sum.combine(&once);
    }
    // RFC 1951: a last block with nothing in it.
    stream.extend_from_slice(&[3, 0]);
    stream.extend_from_slice(&sum.sum().to_le_bytes());
    stream.extend_from_slice(&sum.amount().to_le_bytes());
    stream
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_stream_is_whole() {
        let stream = gzip(3);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(stream.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain.len(), 3 * BLOCK);
        assert!(plain.iter().all(|byte| *byte == b' '));
        assert!(stream.len() < plain.len() / 500, "{}", stream.len());
    }
}
