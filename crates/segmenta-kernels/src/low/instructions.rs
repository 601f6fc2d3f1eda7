//! Which low-precision instructions this processor has and the system permits.

/// Names of the instructions, as processors' makers write them, in small letters: for a note beside a figure.
///
/// `amx-bf16`, `amx-int8`, `avx512-bf16`, `avx512-vnni`, `avx512-fp16`, `avx-vnni`; `neon-dotprod`, `neon-i8mm`,
/// `neon-bf16`. Not all of them have an [`Engine`](super::Engine) yet.
pub fn instructions() -> Vec<&'static str> {
    let mut all: Vec<&'static str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let tiles = amx();
        let found = [
            ("amx-bf16", tiles.bf16),
            ("amx-int8", tiles.int8),
            ("avx512-bf16", is_x86_feature_detected!("avx512bf16")),
            ("avx512-vnni", is_x86_feature_detected!("avx512vnni")),
            ("avx512-fp16", is_x86_feature_detected!("avx512fp16")),
            ("avx-vnni", is_x86_feature_detected!("avxvnni")),
        ];
        all.extend(found.iter().filter(|(_, is_there)| *is_there).map(|f| f.0));
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::is_aarch64_feature_detected;
        let found = [
            ("neon-dotprod", is_aarch64_feature_detected!("dotprod")),
            ("neon-i8mm", is_aarch64_feature_detected!("i8mm")),
            ("neon-bf16", is_aarch64_feature_detected!("bf16")),
        ];
        all.extend(found.iter().filter(|(_, is_there)| *is_there).map(|f| f.0));
    }
    all
}

/// What there is of AMX, and may be used.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amx {
    pub(crate) bf16: bool,
    pub(crate) int8: bool,
}

/// Looks for AMX and asks the system for it, once a process: threads that are started later inherit the permission,
/// those that run already have it, too. Refused is as if the processor had none.
#[cfg(target_arch = "x86_64")]
pub(crate) fn amx() -> Amx {
    use std::sync::OnceLock;
    static FOUND: OnceLock<Amx> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let there = amx_of_the_processor();
        if (there.bf16 || there.int8) && permit_tiles() {
            there
        } else {
            Amx::default()
        }
    })
}

/// By hand, since the standard library's detection of AMX is not stable yet: leaf 7 of `cpuid` says what the
/// processor has, the extended control register what the system saves.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn amx_of_the_processor() -> Amx {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const TILES_SAVED: u64 = 0b11 << 17;
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return Amx::default();
    }
    let (low, high): (u32, u32);
    // SAFETY: reads a register that is there, as OSXSAVE says.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    let has = __cpuid_count(7, 0).edx;
    let saved = u64::from(high) << 32 | u64::from(low);
    let tiles = has & TILE != 0 && saved & TILES_SAVED == TILES_SAVED;
    Amx {
        bf16: tiles && has & BF16 != 0,
        int8: tiles && has & INT8 != 0,
    }
}

#[cfg(all(target_arch = "x86_64", miri))]
fn amx_of_the_processor() -> Amx {
    Amx::default()
}

/// Asks Linux for the tiles' state; elsewhere nobody is known to ask.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn permit_tiles() -> bool {
    const GET_PERMITTED: libc::c_long = 0x1022;
    const ASK_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    const TILES: u64 = 0b11 << 17;
    let mut permitted = 0_u64;
    // SAFETY: the first call changes nothing but what this process may do, the second writes one number to a place
    // that outlives it.
    unsafe {
        if libc::syscall(libc::SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) != 0 {
            return false;
        }
        let asked = libc::syscall(libc::SYS_arch_prctl, GET_PERMITTED, &raw mut permitted);
        asked == 0 && permitted & TILES == TILES
    }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn permit_tiles() -> bool {
    false
}
