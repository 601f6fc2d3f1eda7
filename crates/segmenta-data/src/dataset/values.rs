//! What the values in mask files mean.

use segmenta_image::{LabelMap, VOID};

/// For each value of a mask file the id it stands for, or that it stands for none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Values([Option<u8>; 256]);

impl Values {
    /// Ids as they are, below `classes`; `ignored` values and 255 count nowhere.
    pub(crate) fn ids(classes: usize, ignored: &[u8]) -> Self {
        Self::from_fn(|value| {
            if value == VOID || ignored.contains(&value) {
                Some(VOID)
            } else {
                (usize::from(value) < classes).then_some(value)
            }
        })
    }

    /// One class before a background: 0, and 255 or 1.
    pub(crate) fn binary() -> Self {
        Self::from_fn(|value| match value {
            0 => Some(0),
            1 | 255 => Some(1),
            _ => None,
        })
    }

    /// Classes numbered from 1, and perhaps a 0 for pixels without a class.
    pub(crate) fn from_one(classes: usize, zero_is_void: bool) -> Self {
        Self::from_fn(|value| match value {
            0 if zero_is_void => Some(VOID),
            VOID => Some(VOID),
            _ => value.checked_sub(1).filter(|&id| usize::from(id) < classes),
        })
    }

    /// Every value is void but those listed, the first of which is id 0.
    pub(crate) fn listed(values: &[u8]) -> Self {
        let place = |value: u8| values.iter().position(|&listed| listed == value);
        Self::from_fn(|value| Some(place(value).map_or(VOID, |id| id as u8)))
    }

    fn from_fn(id: impl Fn(u8) -> Option<u8>) -> Self {
        Self(std::array::from_fn(|value| id(value as u8)))
    }

    pub(crate) fn id(&self, value: u8) -> Option<u8> {
        self.0[usize::from(value)]
    }

    /// The map in ids, or the first value that stands for none.
    pub(crate) fn apply(&self, mut map: LabelMap) -> Result<LabelMap, u8> {
        // Most masks are ids already: then nothing is written.
        let wrong = map
            .ids()
            .iter()
            .find(|&&value| self.id(value) != Some(value));
        if wrong.is_none() {
            return Ok(map);
        }
        for value in map.ids_mut() {
            *value = self.id(*value).ok_or(*value)?;
        }
        Ok(map)
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.0.iter().flatten().count();
        write!(f, "Values({known} of 256)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_ids() {
        let map = |ids: &[u8]| LabelMap::new(ids.len(), 1, ids.to_vec()).unwrap();
        let apply = |values: Values, ids: &[u8]| values.apply(map(ids)).map(LabelMap::into_ids);
        assert_eq!(
            apply(Values::ids(3, &[]), &[0, 2, 255]),
            Ok(vec![0, 2, 255])
        );
        assert_eq!(apply(Values::ids(11, &[11]), &[10, 11]), Ok(vec![10, 255]));
        assert_eq!(apply(Values::ids(3, &[]), &[0, 200]), Err(200));
        assert_eq!(apply(Values::binary(), &[0, 255, 1]), Ok(vec![0, 1, 1]));
        assert_eq!(apply(Values::binary(), &[0, 128]), Err(128));
        assert_eq!(apply(Values::from_one(3, false), &[1, 3]), Ok(vec![0, 2]));
        assert_eq!(apply(Values::from_one(3, false), &[0]), Err(0));
        assert_eq!(apply(Values::from_one(3, true), &[0, 3]), Ok(vec![255, 2]));
        assert_eq!(
            apply(Values::listed(&[7, 8]), &[8, 7, 0]),
            Ok(vec![1, 0, 255])
        );
    }
}
