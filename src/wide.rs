//! Loops over wide vectors, where the processor has them.

/// What the processor can do, asked once: it takes a dozen questions.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
static LEVEL: std::sync::LazyLock<fearless_simd::Level> = std::sync::LazyLock::new(fearless_simd::Level::new);

/// Does the work with AVX2, vectors of 32 bytes, where the processor has it; else as compiled for all of its kind.
///
/// What it calls has to be inlined to be compiled twice.
#[inline(always)]
pub(crate) fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(avx2) = LEVEL.as_avx2() {
        return fearless_simd::Simd::vectorize(avx2, work);
    }
    work()
}
