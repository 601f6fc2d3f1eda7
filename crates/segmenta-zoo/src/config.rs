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
        one: fn(&str, &Value) -> Result<T, String>,
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
}
