//! A table from the values in mask files to ids.

use segmenta_files::count;
use segmenta_image::{LabelMap, VOID};

use super::MaskMeaning;

/// For each value of a mask file the id it stands for, or that it stands for none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Values([Option<u8>; 256]);

/// A mask that breaks the rule of its data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The value that stands for nothing and has the most pixels.
    pub(crate) value: u8,
    /// Its pixels.
    pub(crate) pixels: u64,
    /// How many other such values there are.
    pub(crate) more: usize,
}

impl Values {
    /// What values mean where there are `classes` classes.
    pub(crate) fn new(meaning: &MaskMeaning, classes: usize) -> Self {
        Self(std::array::from_fn(|value| {
            let value = value as u8;
            if meaning.ignored.contains(&value) {
                Some(VOID)
            } else {
                meaning.rule.id(value, classes)
            }
        }))
    }

    pub(crate) fn id(&self, value: u8) -> Option<u8> {
        self.0[usize::from(value)]
    }

    /// The map in ids, or how it breaks the rule.
    pub(crate) fn apply(&self, mut map: LabelMap) -> Result<LabelMap, Broken> {
        // Most masks are ids already: then nothing is written.
        let same = |&value: &u8| self.id(value) == Some(value);
        if map.ids().iter().all(same) {
            return Ok(map);
        }
        if let Some(broken) = self.broken(&map.counts()) {
            return Err(broken);
        }
        for value in map.ids_mut() {
            *value = self.id(*value).unwrap_or(VOID);
        }
        Ok(map)
    }

    /// How a mask with so many pixels of each value breaks the rule, if it does.
    pub(crate) fn broken(&self, counts: &[u64; 256]) -> Option<Broken> {
        let wrong = || {
            (0..=255).filter(|&value| counts[usize::from(value)] > 0 && self.id(value).is_none())
        };
        let value: u8 = wrong().max_by_key(|&value| (counts[usize::from(value)], !value))?;
        Some(Broken {
            value,
            pixels: counts[usize::from(value)],
            more: wrong().count() - 1,
        })
    }
}

impl Broken {
    /// `1 pixel of value 7`, `12 pixels of value 200 and of 3 more values`.
    pub(crate) fn words(&self) -> String {
        let Self {
            value,
            pixels,
            more,
        } = self;
        let more = match more {
            0 => String::new(),
            more => format!(", and of {}", count(*more, "more value")),
        };
        format!("{} of value {value}{more}", count(*pixels, "pixel"))
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
    use super::super::RuleOrigin;
    use super::*;

    #[test]
    fn values_become_ids() {
        let apply = |rule: &str, classes, ignored: &[u8], ids: &[u8]| {
            let meaning = MaskMeaning {
                rule: rule.parse().unwrap(),
                ignored: ignored.to_vec(),
                by: RuleOrigin::Told,
                evidence: String::new(),
            };
            let map = LabelMap::new(ids.len(), 1, ids.to_vec()).unwrap();
            let ids = Values::new(&meaning, classes).apply(map);
            ids.map(LabelMap::into_ids)
                .map_err(|broken| (broken.value, broken.pixels))
        };
        assert_eq!(apply("ids", 3, &[], &[0, 2, 255]), Ok(vec![0, 2, 255]));
        assert_eq!(apply("ids", 11, &[11], &[10, 11]), Ok(vec![10, 255]));
        assert_eq!(apply("ids", 3, &[1], &[0, 1]), Ok(vec![0, 255]));
        assert_eq!(apply("ids", 3, &[], &[0, 9, 200, 200]), Err((200, 2)));
        assert_eq!(apply("0/255", 2, &[], &[0, 255]), Ok(vec![0, 1]));
        assert_eq!(apply("0/255", 2, &[], &[0, 1, 255]), Err((1, 1)));
        assert_eq!(
            apply("0/255", 2, &[128], &[0, 128, 255]),
            Ok(vec![0, 255, 1])
        );
        assert_eq!(apply("0/1", 2, &[], &[0, 255]), Err((255, 1)));
        assert_eq!(apply("1/2/3", 3, &[], &[1, 3]), Ok(vec![0, 2]));
        assert_eq!(apply("1/2/3", 3, &[], &[0]), Err((0, 1)));
        assert_eq!(
            apply("from-one", 3, &[], &[0, 3, 255]),
            Ok(vec![255, 2, 255])
        );
        assert_eq!(apply("from-one", 3, &[], &[4]), Err((4, 1)));
        assert_eq!(
            apply("7/8/rest-ignored", 2, &[], &[8, 7, 0]),
            Ok(vec![1, 0, 255])
        );
    }
}
