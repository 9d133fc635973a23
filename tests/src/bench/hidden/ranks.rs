//! Whether two samples differ: the Mann-Whitney test, by the normal approximation, which is good from some twenty values on.

/// What the test says of two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bench) struct Difference {
    /// How often a value of the second is above one of the first; of equal ones half. 0.5 where they are alike.
    pub(in crate::bench) above: f64,
    /// How likely a difference of this size or more is by chance alone.
    pub(in crate::bench) p_value: f64,
}

/// Compares two samples.
pub(in crate::bench) fn compare(first: &[u64], second: &[u64]) -> Difference {
    let mut all: Vec<(u64, bool)> =
        first.iter().map(|v| (*v, false)).chain(second.iter().map(|v| (*v, true))).collect();
    all.sort_unstable();
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let count = group.len() as f64;
        // Of equal values each has the middle of their ranks.
        let rank = before + (count + 1.0) / 2.0;
        ranks += rank * group.iter().filter(|(_, second)| *second).count() as f64;
        ties += count.powi(3) - count;
        before += count;
    }
    let u = ranks - m * (m + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if n * m == 0.0 || variance <= 0.0 {
        return Difference { above: 0.5, p_value: 1.0 };
    }
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    Difference { above: u / (n * m), p_value: erfc(z / std::f64::consts::SQRT_2) }
}

/// The complementary error function for values from 0 on. Abramowitz and Stegun, 7.1.26: right to 1.5e-7.
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let sum = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .into_iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    sum * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_samples_are_called_alike_and_others_are_not() {
        let first: Vec<u64> = (0..200).collect();
        let alike = compare(&first, &first);
        assert!((alike.above - 0.5).abs() < 1e-9 && alike.p_value > 0.9, "{alike:?}");
        let above: Vec<u64> = (200..400).collect();
        let apart = compare(&first, &above);
        assert!((apart.above - 1.0).abs() < 1e-9 && apart.p_value < 1e-6, "{apart:?}");
        assert!((compare(&above, &first).above).abs() < 1e-9);
        assert!((compare(&[1; 50], &[1; 50]).p_value - 1.0).abs() < 1e-9);
        // Counted pair by pair, and with the error function of another library.
        let (one, other): (Vec<u64>, Vec<u64>) = ((1..=30).collect(), (6..=35).collect());
        let shifted = compare(&one, &other);
        let pairs = one
            .iter()
            .flat_map(|a| other.iter().map(move |b| f64::from(u8::from(b > a)) + f64::from(u8::from(b == a)) / 2.0));
        assert!((shifted.above - pairs.sum::<f64>() / 900.0).abs() < 1e-9, "{shifted:?}");
        assert!((shifted.p_value - 0.0428).abs() < 1e-3, "{shifted:?}");
    }
}
