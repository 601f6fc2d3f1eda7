//! Fields of a `config.json`, by which networks of the Hugging Face hub are built.

use std::collections::BTreeMap;

use segmenta_graph::Activation;
use serde_json::Value;

/// The most that a count in a configuration may be: wider or deeper networks there are not, and every count becomes
/// memory.
const MOST: usize = 1 << 14;

/// Fields of a `config.json` by name. One that is left out, or `null`, is as transformers has it by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(BTreeMap<String, Value>);

impl Config {
    /// The fields that are given, by name.
    pub fn given(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// Gives a field; `null` takes it back.
    pub fn set(&mut self, name: &str, value: Value) {
        if value.is_null() {
            self.0.remove(name);
        } else {
            self.0.insert(name.into(), value);
        }
    }

    /// The fields of an object; none if it is left out.
    pub(crate) fn nested(&self, name: &str) -> Result<Self, String> {
        match self.0.get(name) {
            None => Ok(Self::default()),
            Some(Value::Object(fields)) => {
                let given = fields.iter().filter(|(_, value)| !value.is_null());
                Ok(Self(given.map(|(k, v)| (k.clone(), v.clone())).collect()))
            }
            Some(other) => Err(strange(name, other, "an object of fields")),
        }
    }

    /// A word.
    pub(crate) fn word<'c>(&'c self, name: &str, default: &'c str) -> Result<&'c str, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(Value::String(word)) => Ok(word),
            Some(other) => Err(strange(name, other, "a word")),
        }
    }

    /// Which of a backbone's maps are read, by their place: 0 for the stem, 1 for the first of `stages` stages. Either
    /// of `out_features`, by name, or `out_indices` may be given; the last stage is read if neither is.
    pub(crate) fn stages(&self, stages: usize) -> Result<Vec<usize>, String> {
        let named = |_: &str, value: &Value| {
            let found = match value.as_str() {
                Some("stem") => Some(0),
                Some(name) => name.strip_prefix("stage").and_then(|n| n.parse().ok()),
                None => None,
            };
            let found = found.filter(|&stage| stage <= stages);
            found.ok_or_else(|| strange("out_features", value, "the name of a stage"))
        };
        let numbered = |_: &str, value: &Value| {
            let all = stages as i64 + 1;
            // Negative ones count from the end.
            let found = value.as_i64().map(|n| if n < 0 { n + all } else { n });
            let found = found.filter(|n| (0..all).contains(n));
            let found = found.map(|stage| stage as usize);
            found.ok_or_else(|| strange("out_indices", value, "the number of a stage"))
        };
        let found = if self.0.contains_key("out_features") {
            self.each("out_features", &[], named)?
        } else {
            self.each("out_indices", &[stages], numbered)?
        };
        if found.is_empty() {
            return Err("reads none of its backbone's stages (out_features); name them".into());
        }
        Ok(found)
    }

    /// A whole number from 1 on.
    pub(crate) fn count(&self, name: &str, default: usize) -> Result<usize, String> {
        self.0
            .get(name)
            .map_or(Ok(default), |value| count(name, value))
    }

    /// Whole numbers from 1 on, as many as `length`.
    pub(crate) fn counts(
        &self,
        name: &str,
        default: &[usize],
        length: usize,
    ) -> Result<Vec<usize>, String> {
        let counts = self.each(name, default, count)?;
        if counts.len() == length {
            return Ok(counts);
        }
        Err(format!(
            "takes {length} numbers in the field `{name}`, not {}",
            counts.len()
        ))
    }

    /// Whole numbers from 1 on, one at least.
    pub(crate) fn list(&self, name: &str, default: &[usize]) -> Result<Vec<usize>, String> {
        let counts = self.each(name, default, count)?;
        if counts.is_empty() {
            return Err(format!(
                "reads no number in the field `{name}`; give one at least"
            ));
        }
        Ok(counts)
    }

    /// A whole number from 0 on.
    pub(crate) fn whole(&self, name: &str, default: usize) -> Result<usize, String> {
        match self.0.get(name) {
            Some(value) if value.as_f64() == Some(0.0) => Ok(0),
            _ => self.count(name, default),
        }
    }

    /// Whole numbers from 0 on, any number of them.
    pub(crate) fn wholes(&self, name: &str, default: &[usize]) -> Result<Vec<usize>, String> {
        self.each(name, default, |name, value| match value.as_f64() {
            Some(0.0) => Ok(0),
            _ => count(name, value),
        })
    }

    /// Two whole numbers from 1 on, or one for both.
    pub(crate) fn pair(&self, name: &str, default: usize) -> Result<[usize; 2], String> {
        match self.0.get(name) {
            Some(Value::Array(_)) => {
                let both = self.counts(name, &[], 2)?;
                Ok([both[0], both[1]])
            }
            _ => Ok([self.count(name, default)?; 2]),
        }
    }

    /// A place among `length` things, counted from the end where it is negative.
    pub(crate) fn index(&self, name: &str, default: i64, length: usize) -> Result<usize, String> {
        let length = length as i64;
        let given = match self.0.get(name) {
            None => Some(default),
            Some(value) => value.as_i64(),
        };
        let found = given.map(|n| if n < 0 { n + length } else { n });
        let found = found.filter(|n| (0..length).contains(n));
        found.map(|n| n as usize).ok_or_else(|| {
            let value = self.0.get(name).cloned().unwrap_or_default();
            strange(name, &value, &format!("a place among {length}"))
        })
    }

    /// Finite numbers from 0 on, as many as `length`.
    pub(crate) fn numbers(
        &self,
        name: &str,
        default: &[f64],
        length: usize,
    ) -> Result<Vec<f64>, String> {
        let numbers = self.each(name, default, number)?;
        if numbers.len() == length {
            return Ok(numbers);
        }
        Err(format!(
            "takes {length} numbers in the field `{name}`, not {}",
            numbers.len()
        ))
    }

    fn each<T: Clone>(
        &self,
        name: &str,
        default: &[T],
        one: impl Fn(&str, &Value) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        match self.0.get(name) {
            None => Ok(default.to_vec()),
            Some(Value::Array(values)) => values.iter().map(|value| one(name, value)).collect(),
            Some(other) => Err(strange(name, other, "a list of numbers")),
        }
    }

    /// A finite number from 0 on.
    pub(crate) fn number(&self, name: &str, default: f64) -> Result<f64, String> {
        self.0
            .get(name)
            .map_or(Ok(default), |value| number(name, value))
    }

    /// A probability.
    pub(crate) fn probability(&self, name: &str, default: f64) -> Result<f32, String> {
        let found = self.number(name, default)?;
        if found < 1.0 {
            return Ok(found as f32);
        }
        Err(format!(
            "reads {found} in the field `{name}`, no probability below 1"
        ))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(strange(name, other, "true or false")),
        }
    }

    /// A non-linearity, by the name that transformers has for it. `gelu` is the exact one.
    pub(crate) fn activation(&self, name: &str, default: Activation) -> Result<Activation, String> {
        let Some(value) = self.0.get(name) else {
            return Ok(default);
        };
        Ok(match value.as_str() {
            Some("gelu" | "gelu_python") => Activation::Gelu,
            Some("relu") => Activation::Relu,
            Some("relu6") => Activation::Relu6,
            Some("silu" | "swish") => Activation::Silu,
            Some("hardswish") => Activation::Hardswish,
            Some("sigmoid") => Activation::Sigmoid,
            Some("tanh") => Activation::Tanh,
            _ => return Err(strange(name, value, "gelu, relu, relu6, silu or hardswish")),
        })
    }
}

fn strange(name: &str, value: &Value, wanted: &str) -> String {
    format!("reads {value} in the field `{name}`, not {wanted}")
}

fn count(name: &str, value: &Value) -> Result<usize, String> {
    // Some writers have whole numbers as `4.0`.
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    match whole {
        Some(number) if (1.0..=MOST as f64).contains(&number) => Ok(number as usize),
        _ => Err(strange(
            name,
            value,
            &format!("a whole number, 1 to {MOST}"),
        )),
    }
}

fn number(name: &str, value: &Value) -> Result<f64, String> {
    let found = value.as_f64().filter(|n| (0.0..=MOST as f64).contains(n));
    found.ok_or_else(|| strange(name, value, &format!("a number, 0 to {MOST}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_are_two_numbers_or_one() {
        let mut config = Config::default();
        assert_eq!(config.pair("size", 7), Ok([7, 7]));
        config.set("size", json!(5));
        assert_eq!(config.pair("size", 7), Ok([5, 5]));
        config.set("size", json!([4, 6]));
        assert_eq!(config.pair("size", 7), Ok([4, 6]));
        config.set("size", json!([4, 6, 8]));
        assert!(config.pair("size", 7).unwrap_err().contains("`size`"));
        config.set("size", json!(0));
        assert!(config.pair("size", 7).is_err());
        assert_eq!(config.whole("size", 7), Ok(0));
    }

    #[test]
    fn fields_are_read_or_named() {
        let mut config = Config::default();
        assert_eq!(config.count("depth", 3), Ok(3));
        config.set("depth", json!(4.0));
        config.set("depths", json!([1, 2]));
        assert_eq!(config.count("depth", 3), Ok(4));
        assert_eq!(config.counts("depths", &[], 2), Ok(vec![1, 2]));
        for (field, value) in [
            ("depth", json!(0)),
            ("depth", json!("many")),
            ("depths", json!([1])),
            ("depths", json!(1)),
            ("rate", json!(1.5)),
            ("act", json!("gelu_new")),
            ("flag", json!(1)),
        ] {
            let mut config = Config::default();
            config.set(field, value);
            let read = match field {
                "depth" => config.count(field, 1).map(|_| ()),
                "depths" => config.counts(field, &[], 2).map(|_| ()),
                "rate" => config.probability(field, 0.0).map(|_| ()),
                "act" => config.activation(field, Activation::Gelu).map(|_| ()),
                _ => config.flag(field, true).map(|_| ()),
            };
            assert!(read.unwrap_err().contains(&format!("`{field}`")));
        }
        config.set("depth", Value::Null);
        assert_eq!(config.count("depth", 3), Ok(3));
    }

    #[test]
    fn stages_go_by_name_or_by_number() {
        let read = |field: &str, value: Value| {
            let mut config = Config::default();
            config.set(field, value);
            config.stages(4)
        };
        assert_eq!(Config::default().stages(4), Ok(vec![4]));
        let named = read("out_features", json!(["stem", "stage2"]));
        assert_eq!(named, Ok(vec![0, 2]));
        assert_eq!(read("out_indices", json!([1, -1])), Ok(vec![1, 4]));
        for (field, value) in [
            ("out_features", json!(["stage5"])),
            ("out_features", json!([])),
            ("out_indices", json!([5])),
            ("out_indices", json!(["stage1"])),
        ] {
            assert!(read(field, value.clone()).is_err(), "{field}: {value}");
        }
    }

    #[test]
    fn what_a_backbone_is_made_by_is_an_object() {
        let mut config = Config::default();
        config.set(
            "backbone_config",
            json!({"depths": [2, 3], "image_size": [64, 32], "at": -1, "taps": [0, 2], "none": null}),
        );
        let nested = config.nested("backbone_config").unwrap();
        assert_eq!(nested.list("depths", &[1]), Ok(vec![2, 3]));
        assert_eq!(nested.pair("image_size", 8), Ok([64, 32]));
        assert_eq!(nested.pair("patch_size", 8), Ok([8, 8]));
        assert_eq!(nested.index("at", 0, 3), Ok(2));
        assert_eq!(nested.wholes("taps", &[]), Ok(vec![0, 2]));
        assert_eq!(nested.word("none", "left out"), Ok("left out"));
        config.set("backbone_config", json!("resnet50"));
        let problem = config.nested("backbone_config").unwrap_err();
        assert!(problem.contains("`backbone_config`"), "{problem}");
        config.set("at", json!(3));
        assert!(config.index("at", 0, 3).unwrap_err().contains("`at`"));
    }
}
