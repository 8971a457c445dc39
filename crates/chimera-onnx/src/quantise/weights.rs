//! A matrix as signed bytes with one scale an output channel.

use crate::error::Result;
use crate::tensor::{DataType, Tensor};

/// Names of what a quantised matrix is stored as.
pub(super) fn quantised(name: &str) -> String {
    format!("{name}_quantised")
}

pub(super) fn scale(name: &str) -> String {
    format!("{name}_scale")
}

/// Quantises a matrix: the largest magnitude of a channel becomes `largest`, quotients round to the even neighbour as
/// `QuantizeLinear` does. Gives the bytes, and the scales along `axis`.
pub(super) fn quantise(tensor: &Tensor, axis: usize, largest: i8) -> Result<(Tensor, Tensor)> {
    let values = tensor.to_f32()?;
    let (rows, columns) = (tensor.dims[0] as usize, tensor.dims[1] as usize);
    let channel = |at: usize| if axis == 0 { at / columns } else { at % columns };
    let mut magnitudes = vec![0.0_f32; if axis == 0 { rows } else { columns }];
    for (at, value) in values.iter().enumerate() {
        let magnitude = &mut magnitudes[channel(at)];
        *magnitude = magnitude.max(value.abs());
    }
    // A channel of zeros has any scale; one is a number that nothing divides by in vain.
    let scales: Vec<f32> = magnitudes
        .iter()
        .map(|magnitude| if *magnitude > 0.0 { magnitude / f32::from(largest) } else { 1.0 })
        .collect();
    let limit = f32::from(largest);
    let bytes: Vec<u8> = values
        .iter()
        .enumerate()
        .map(|(at, value)| (value / scales[channel(at)]).round_ties_even().clamp(-limit, limit) as i8 as u8)
        .collect();
    let data = Tensor::new(quantised(&tensor.name), &tensor.dims, DataType::I8, bytes);
    let scales = Tensor::floats(scale(&tensor.name), &[scales.len() as u64], DataType::F32, &scales);
    Ok((data, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_along_either_axis_by_hand() {
        let tensor = Tensor::floats("w", &[2, 2], DataType::F32, &[1.0, -254.0, 0.5, 127.0]);
        let (data, scales) = quantise(&tensor, 1, 127).unwrap();
        assert_eq!(scales.to_f32().unwrap(), [1.0 / 127.0, 2.0]);
        // 63.5 goes to the even neighbour.
        assert_eq!(data.load().unwrap().as_ref(), [127, -127_i8 as u8, 64, 64]);
        let (data, scales) = quantise(&tensor, 0, 127).unwrap();
        assert_eq!(scales.to_f32().unwrap(), [2.0, 1.0]);
        assert_eq!(data.load().unwrap().as_ref(), [0, -127_i8 as u8, 0, 127]);
        assert_eq!((data.name.as_str(), scales.name.as_str()), ("w_quantised", "w_scale"));
    }

    #[test]
    fn zeros_stay_zeros_and_seven_bits_stay_within_63() {
        let zeros = Tensor::floats("w", &[1, 3], DataType::F32, &[0.0; 3]);
        let (data, scales) = quantise(&zeros, 0, 127).unwrap();
        assert_eq!(data.load().unwrap().as_ref(), [0; 3]);
        assert_eq!(scales.to_f32().unwrap(), [1.0]);
        let tensor = Tensor::floats("w", &[1, 2], DataType::F32, &[3.0, -3.0]);
        let (data, _) = quantise(&tensor, 0, 63).unwrap();
        assert_eq!(data.load().unwrap().as_ref(), [63, -63_i8 as u8]);
    }
}
