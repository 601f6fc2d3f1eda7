//! NumPy's array files, as far as a network's input and output need them: f32 and f64 of four axes
//! in C order. The format is that of numpy.lib.format, versions 1 to 3.

use segmenta_graph::Shape;
use segmenta_runtime::Tensor;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array of four axes.
///
/// # Errors
/// What is wrong and how to mend it, without the file's name.
pub fn read(bytes: &[u8]) -> Result<Tensor, String> {
    let cut = || "the file ends too early · save it again".to_string();
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it is no .npy file · write it with np.save")?;
    let (&[version, _], rest) = rest.split_first_chunk().ok_or_else(cut)?;
    // The header's length has two bytes in version 1, four in later ones.
    let (len, rest) = if version == 1 {
        let (len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        (usize::from(u16::from_le_bytes(*len)), rest)
    } else {
        let (len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        (u32::from_le_bytes(*len) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(len).ok_or_else(cut)?;
    let header = String::from_utf8_lossy(header);

    if field(&header, "fortran_order").is_some_and(|order| order.starts_with("True")) {
        return Err("it is in Fortran order · save np.ascontiguousarray(x)".into());
    }
    let shape = extents(&header).ok_or("its header has no shape · write it with np.save")?;
    let &[batch, channels, height, width] = &shape[..] else {
        return Err(format!(
            "its axes are {}, not the four of NCHW · reshape it",
            shape.len()
        ));
    };
    let shape = Shape::new(batch, channels, height, width);
    let values = [batch, channels, height, width]
        .iter()
        .try_fold(1_usize, |n, &s| n.checked_mul(s));
    let values = values.ok_or("its shape is absurd · save it again")?;
    let kind = field(&header, "descr").unwrap_or_default();
    let data = match kind.get(1..4) {
        Some("<f4") => numbers(data, values, f32::from_le_bytes),
        Some("<f8") => numbers(data, values, |bytes| f64::from_le_bytes(bytes) as f32),
        _ => {
            let kind: String = kind.chars().take_while(|&c| c != ',').collect();
            return Err(format!("its numbers are {kind} · save x.astype('<f4')"));
        }
    };
    Ok(Tensor {
        shape,
        data: data.ok_or_else(cut)?,
    })
}

/// What stands after a key of the header, which is a Python dictionary that NumPy wrote.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = header.split_once(&format!("'{key}':"))?;
    Some(value.trim_start())
}

fn extents(header: &str) -> Option<Vec<usize>> {
    let (inside, _) = field(header, "shape")?.strip_prefix('(')?.split_once(')')?;
    let extents = inside
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty());
    extents.map(|extent| extent.parse().ok()).collect()
}

fn numbers<const N: usize>(
    bytes: &[u8],
    count: usize,
    read: fn([u8; N]) -> f32,
) -> Option<Vec<f32>> {
    let (numbers, _) = bytes.as_chunks::<N>();
    Some(
        numbers
            .get(..count)?
            .iter()
            .map(|&bytes| read(bytes))
            .collect(),
    )
}

/// The bytes of a file of f32 in C order, of four axes.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let Shape {
        batch,
        channels,
        height,
        width,
    } = tensor.shape;
    write_axes(tensor, &[batch, channels, height, width])
}

/// The same of three axes: a map of one row without its rows.
pub fn write_rows(tensor: &Tensor) -> Vec<u8> {
    let Shape {
        batch,
        channels,
        height,
        width,
    } = tensor.shape;
    write_axes(tensor, &[batch, channels, height * width])
}

fn write_axes(tensor: &Tensor, axes: &[usize]) -> Vec<u8> {
    let axes: Vec<String> = axes.iter().map(usize::to_string).collect();
    let axes = axes.join(", ");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({axes}), }}");
    // The data begins at a multiple of 64 bytes: ten before the header, its newline at the end.
    let len = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<width$}\n", width = len - 1);
    let mut bytes = Vec::with_capacity(10 + len + tensor.data.len() * 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(len as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor() -> Tensor {
        let data = (0..24).map(|i| i as f32 * 0.5).collect();
        Tensor {
            shape: Shape::new(1, 2, 3, 4),
            data,
        }
    }

    #[test]
    fn rows_have_three_axes() {
        let row = Tensor {
            shape: Shape::new(1, 4, 1, 6),
            ..tensor()
        };
        let bytes = write_rows(&row);
        let header = String::from_utf8_lossy(&bytes[..100]).into_owned();
        assert!(header.contains("'shape': (1, 4, 6), }"), "{header}");
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(&tensor());
        assert_eq!((bytes.len() - 24 * 4) % 64, 0);
        assert_eq!(read(&bytes), Ok(tensor()));
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn other_arrays_are_refused_with_a_remedy() {
        let bytes = write(&tensor());
        let with = |from: &str, to: &str| {
            let at = bytes
                .windows(from.len())
                .position(|w| w == from.as_bytes())
                .unwrap();
            let mut bytes = bytes.clone();
            bytes.splice(at..at + from.len(), to.bytes());
            read(&bytes).unwrap_err()
        };
        assert!(with("False", "True ").contains("ascontiguousarray"));
        assert!(with("<f4", "<i8").contains("'<i8' · save x.astype"));
        assert!(with("(1, 2, 3, 4)", "(2, 3, 4)   ").contains("its axes are 3,"));
        assert!(with("(1, 2, 3, 4)", "(1, 2, 3, 9)").contains("too early"));
        assert!(with("NUMPY", "NUMPX").contains("np.save"));
    }

    #[test]
    fn doubles_are_rounded() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1), }\n";
        let mut bytes = MAGIC.to_vec();
        bytes.extend([3, 0]);
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(0.1_f64.to_le_bytes());
        assert_eq!(read(&bytes).unwrap().data, [0.1_f32]);
    }
}
