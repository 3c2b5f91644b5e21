//! I420 and NV12: where their planes are, and copying them.

use super::I420;

/// Width and height of the chroma planes of a picture; one that is odd has half a sample more.
pub(super) fn chroma_size((width, height): (u32, u32)) -> (u32, u32) {
    (width.div_ceil(2), height.div_ceil(2))
}

/// Bytes of a picture of `size` (width, height), rows without padding.
pub(super) fn planar_len(size: (u32, u32)) -> usize {
    let chroma = chroma_size(size);
    area(size) + 2 * area(chroma)
}

fn area((width, height): (u32, u32)) -> usize {
    width as usize * height as usize
}

/// The three planes of I420 of `size`; `None` if `data` is shorter.
pub(super) fn i420_planes(data: &[u8], size: (u32, u32)) -> Option<[&[u8]; 3]> {
    let (y, uv) = nv12_planes(data, size)?;
    let (u, v) = uv.split_at_checked(area(chroma_size(size)))?;
    Some([y, u, v])
}

/// Luma and the interleaved chroma of NV12 of `size`; `None` if `data` is shorter.
pub(super) fn nv12_planes(data: &[u8], size: (u32, u32)) -> Option<(&[u8], &[u8])> {
    data.get(..planar_len(size))?.split_at_checked(area(size))
}

/// Copies I420 of `size` into a picture that is as large, or one pixel less wide or high.
pub(super) fn copy_i420(data: &[u8], size: (u32, u32), into: &mut I420) -> Option<()> {
    if size == (into.width(), into.height()) {
        into.samples.copy_from_slice(data.get(..planar_len(size))?);
        return Some(());
    }
    let [y, u, v] = i420_planes(data, size)?;
    let (columns, width) = (chroma_size(size).0, into.width());
    let [to_y, to_u, to_v] = into.planes_mut();
    copy_rows(y, size.0, to_y, width);
    copy_rows(u, columns, to_u, width / 2);
    copy_rows(v, columns, to_v, width / 2);
    Some(())
}

/// Copies NV12 of `size` into a picture that is as large, or one pixel less wide or high.
pub(super) fn copy_nv12(data: &[u8], size: (u32, u32), into: &mut I420) -> Option<()> {
    let (y, uv) = nv12_planes(data, size)?;
    let width = into.width();
    let [to_y, to_u, to_v] = into.planes_mut();
    copy_rows(y, size.0, to_y, width);
    deinterleave(uv, chroma_size(size).0, [to_u, to_v], width / 2);
    Some(())
}

/// Copies what fits of each row.
fn copy_rows(from: &[u8], stride: u32, to: &mut [u8], width: u32) {
    let rows = from.chunks_exact(stride as usize);
    for (to, from) in to.chunks_exact_mut(width as usize).zip(rows) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
}

/// Takes the pairs of each row apart, as far as `width` samples.
pub(super) fn deinterleave(pairs: &[u8], columns: u32, [u, v]: [&mut [u8]; 2], width: u32) {
    let width = width as usize;
    let rows = u.chunks_exact_mut(width).zip(v.chunks_exact_mut(width));
    for ((u, v), pairs) in rows.zip(pairs.chunks_exact(columns as usize * 2)) {
        for ((u, v), pair) in u.iter_mut().zip(v).zip(pairs.as_chunks::<2>().0) {
            [*u, *v] = *pair;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_pictures_have_half_a_chroma_sample_more_each_way() {
        for (size, len) in [
            ((1, 1), 3),
            ((2, 2), 6),
            ((3, 3), 17),
            ((3, 2), 10),
            ((2, 3), 10),
        ] {
            assert_eq!(planar_len(size), len, "{size:?}");
            let data: Vec<u8> = (0..len as u8).collect();
            let [y, u, v] = i420_planes(&data, size).unwrap();
            assert_eq!([y, u, v].concat(), data);
            assert_eq!(u.len(), v.len());
            assert!(i420_planes(&data[1..], size).is_none());
            assert!(nv12_planes(&data[1..], size).is_none());
        }
    }

    #[test]
    fn the_planes_of_a_picture_of_the_same_size_are_copied_to_the_byte() {
        for size in [(64, 48), (65, 48), (64, 49), (65, 49)] {
            let mut picture = I420::black(64, 48);
            let data: Vec<u8> = (0..planar_len(size))
                .map(|n| (n * 31 % 251) as u8)
                .collect();
            let [y, u, v] = i420_planes(&data, size).unwrap();
            let luma_at = |at: usize| y[at / 64 * size.0 as usize + at % 64];
            let columns = chroma_size(size).0 as usize;
            let chroma_at = |plane: &[u8], at: usize| plane[at / 32 * columns + at % 32];
            copy_i420(&data, size, &mut picture).unwrap();
            let planar = picture.clone();
            let [to_y, to_u, to_v] = planar.planes();
            assert!(to_y.iter().enumerate().all(|(at, y)| *y == luma_at(at)));
            assert!(
                to_u.iter()
                    .enumerate()
                    .all(|(at, s)| *s == chroma_at(u, at))
            );
            assert!(
                to_v.iter()
                    .enumerate()
                    .all(|(at, s)| *s == chroma_at(v, at))
            );

            let pairs = u.iter().zip(v).flat_map(|(u, v)| [*u, *v]);
            let interleaved: Vec<u8> = y.iter().copied().chain(pairs).collect();
            picture.blacken();
            copy_nv12(&interleaved, size, &mut picture).unwrap();
            assert_eq!(picture, planar);
        }
    }
}
