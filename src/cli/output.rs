//! Result files: what `--output` saves for the prime kernels, in a form that numpy reads.

#![forbid(unsafe_code)]

use ndarray::Ix2;
use pinpool::SharedArray;
use pinpool_kernels::primes::Factors;

use super::failure::Failure;

/// Factors of one number that a row has room for.
const ROW: usize = 16;

/// A matrix of (number, 16): the prime factors in rising order with repetition, then zeros.
pub(super) fn factor_matrix(
    numbers: &[u64],
    factors: &[Factors],
) -> Result<SharedArray<u64, Ix2>, Failure> {
    let mut matrix = SharedArray::zeros((numbers.len(), ROW))?;
    let rows = matrix.as_mut_slice().chunks_exact_mut(ROW);
    for ((row, &number), factors) in rows.zip(numbers).zip(factors) {
        let count = factors.count_with_multiplicity();
        if count as usize > ROW {
            return Err(Failure::TooManyFactors { number, count });
        }
        for (place, prime) in row.iter_mut().zip(factors.prime_factors()) {
            *place = prime;
        }
    }
    Ok(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinpool_kernels::primes::factor;

    fn matrix(numbers: &[u64]) -> Result<SharedArray<u64, Ix2>, Failure> {
        let factors: Vec<Factors> = numbers.iter().map(|&n| factor(n)).collect();
        factor_matrix(numbers, &factors)
    }

    #[test]
    fn rows_hold_the_factors_with_repetition_and_zeros_behind() {
        let matrix = matrix(&[12, 1, 65_536, 0]).unwrap();
        assert_eq!(matrix.shape(), [4, 16]);
        let rows: Vec<_> = matrix.as_slice().chunks(16).collect();
        assert_eq!(rows[0][..4], [2, 2, 3, 0]);
        assert_eq!(rows[1], [0; 16]);
        assert_eq!(rows[2], [2; 16]);
        assert_eq!(rows[3], [0; 16]);
    }

    #[test]
    fn a_number_with_more_than_16_factors_is_named() {
        let error = matrix(&[12, 131_072]).unwrap_err();
        assert!(matches!(error, Failure::TooManyFactors { number: 131_072, count: 17 }));
    }
}
