//! The numbers that every conformance file is made from: a value depends on the tensor's name and
//! its position alone (`formula.py` in the conformance folder is the definition).

/// 64-bit FNV-1a of the name.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `len` values in [0, 1).
pub(crate) fn unit(name: &str, len: usize) -> Vec<f32> {
    let start = fnv1a(name);
    let value = |i| (splitmix(start.wrapping_add(i)) >> 40) as f32 / (1 << 24) as f32;
    (0..len as u64).map(value).collect()
}

/// A state-dict entry's values; `transposed` if it is a transposed convolution's kernel, whose inputs
/// are its first extent.
pub(crate) fn weight(name: &str, shape: &[usize], transposed: bool) -> Vec<f32> {
    let mut values = unit(name, shape.iter().product());
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let map: Box<dyn Fn(f32) -> f32> = match leaf {
        "num_batches_tracked" => Box::new(|_| 1.0),
        "running_var" => Box::new(|u| 0.8 + 0.4 * u),
        "running_mean" => Box::new(|u| 0.2 * u - 0.1),
        _ if shape.len() >= 2 => {
            let taps: usize = shape[2..].iter().product();
            let fan_in = taps * shape[usize::from(!transposed)];
            let bound = (6.0 / fan_in as f64).sqrt() as f32;
            Box::new(move |u| (2.0 * u - 1.0) * bound)
        }
        "weight" => Box::new(|u| 0.6 + 0.4 * u),
        _ => Box::new(|u| 0.2 * u - 0.1),
    };
    values.iter_mut().for_each(|u| *u = map(*u));
    values
}

/// A network's input.
pub(crate) fn image(name: &str, len: usize) -> Vec<f32> {
    let mut values = unit(&format!("{name}/image"), len);
    values
        .iter_mut()
        .for_each(|u| *u = (*u - 0.5) * 3.464_101_6);
    values
}
