//! TFRecord: each record with its length and checksums of both.
//!
//! `length (u64) · masked CRC of it (u32) · data · masked CRC of the data (u32)`, little-endian, the CRC being
//! Castagnoli's; as TensorFlow's guide to TFRecord defines it.

const LENGTH: usize = 8;
const CRC: usize = 4;

/// A record's bytes.
pub(super) fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + LENGTH + 2 * CRC);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// The data of all whole records, each with the place where it ends. A last record that is cut short is left out.
pub(super) fn unframed(bytes: &[u8]) -> Result<Vec<(usize, &[u8])>, String> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((head, rest)) = bytes[at..].split_first_chunk::<{ LENGTH + CRC }>() {
        let (length, crc) = head.split_at(LENGTH);
        let wrong = |what| {
            Err(format!(
                "the checksum of a record's {what} is wrong at byte {at}"
            ))
        };
        if masked_crc(length).to_le_bytes() != crc {
            return wrong("length");
        }
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((data, crc)) = rest.split_at_checked(length) else {
            break;
        };
        let Some(crc) = crc.first_chunk::<CRC>() else {
            break;
        };
        if masked_crc(data).to_le_bytes() != *crc {
            return wrong("data");
        }
        at += LENGTH + 2 * CRC + length;
        records.push((at, data));
    }
    Ok(records)
}

/// Rotated and shifted, so that the checksum of data that holds checksums is no fixed point.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}
