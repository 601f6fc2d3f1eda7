//! Number types, and the way from each of them to `f32`.

use std::fmt;

use half::{bf16, f16};

#[cfg(target_endian = "big")]
compile_error!("weight files are little-endian and are read as they are");

/// The number type of a stored tensor, by its safetensors name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// A type that is listed by its name but not read (8-bit floats and below, complex).
    Other(String),
}

impl DType {
    /// Bytes that one number takes; `None` for [`DType::Other`].
    pub fn bytes(&self) -> Option<usize> {
        Some(match self {
            DType::F64 | DType::I64 | DType::U64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::Other(_) => return None,
        })
    }

    /// Turns little-endian numbers of this type into `f32`, rounding to nearest where `f32` is the
    /// coarser type; `None` for [`DType::Other`]. Bytes after the last whole number are left out.
    pub(crate) fn to_f32(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            DType::F32 => each(bytes, f32::from_le_bytes),
            DType::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            DType::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            DType::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            DType::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
            DType::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
            DType::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            DType::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            DType::U16 => each(bytes, |b| u16::from_le_bytes(b).into()),
            DType::U8 => each(bytes, |b| u8::from_le_bytes(b).into()),
            DType::Bool => each(bytes, |[b]| f32::from(b != 0)),
            DType::Other(_) => return None,
        })
    }
}

/// Decodes `bytes`, `N` at a time.
fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&number| decode(number))
        .collect()
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DType::Other(name) => f.write_str(name),
            DType::Bool => f.write_str("BOOL"),
            known => fmt::Debug::fmt(known, f),
        }
    }
}

impl From<safetensors::Dtype> for DType {
    fn from(dtype: safetensors::Dtype) -> DType {
        use safetensors::Dtype as S;
        match dtype {
            S::F64 => DType::F64,
            S::F32 => DType::F32,
            S::F16 => DType::F16,
            S::BF16 => DType::BF16,
            S::I64 => DType::I64,
            S::I32 => DType::I32,
            S::I16 => DType::I16,
            S::I8 => DType::I8,
            S::U64 => DType::U64,
            S::U32 => DType::U32,
            S::U16 => DType::U16,
            S::U8 => DType::U8,
            S::BOOL => DType::Bool,
            other => DType::Other(other.to_string()),
        }
    }
}

impl From<pytorch_reader::DType> for DType {
    fn from(dtype: pytorch_reader::DType) -> DType {
        use pytorch_reader::DType as P;
        match dtype {
            P::F64 => DType::F64,
            P::F32 => DType::F32,
            P::F16 => DType::F16,
            P::BF16 => DType::BF16,
            P::I64 => DType::I64,
            P::I32 => DType::I32,
            P::I16 => DType::I16,
            P::I8 => DType::I8,
            P::U64 => DType::U64,
            P::U32 => DType::U32,
            P::U16 => DType::U16,
            P::U8 => DType::U8,
            P::Bool => DType::Bool,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_f32() {
        let cases: [(DType, Vec<u8>, f32); 13] = [
            (DType::F64, (-2.5f64).to_le_bytes().into(), -2.5),
            (DType::F32, 0.1f32.to_le_bytes().into(), 0.1),
            (DType::F16, f16::from_f32(1.5).to_le_bytes().into(), 1.5),
            (DType::BF16, bf16::from_f32(-3.0).to_le_bytes().into(), -3.0),
            (DType::I64, (-7i64).to_le_bytes().into(), -7.0),
            (DType::I32, (-7i32).to_le_bytes().into(), -7.0),
            (DType::I16, (-7i16).to_le_bytes().into(), -7.0),
            (DType::I8, (-7i8).to_le_bytes().into(), -7.0),
            (DType::U64, 7u64.to_le_bytes().into(), 7.0),
            (DType::U32, 7u32.to_le_bytes().into(), 7.0),
            (DType::U16, 7u16.to_le_bytes().into(), 7.0),
            (DType::U8, vec![200], 200.0),
            (DType::Bool, vec![9], 1.0),
        ];
        for (dtype, bytes, value) in cases {
            assert_eq!(dtype.bytes(), Some(bytes.len()), "{dtype}");
            assert_eq!(dtype.to_f32(&bytes), Some(vec![value]), "{dtype}");
        }
        assert_eq!(DType::Other("F8_E4M3".into()).to_f32(&[1]), None);
    }
}
