//! Which pictures of the data set a request asks for.

use segmenta::data::Split;

use super::{Inspected, Viewed};
use crate::problem::Problem;

/// Pictures that one answer lists at most.
const MOST: usize = 500;

/// A page of the pictures for which everything that is said holds.
#[derive(Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) from: usize,
    pub(super) count: usize,
    class: Option<u8>,
    problem: Option<Which>,
    split: Option<Split>,
    name: String,
}

/// Problems by which pictures are chosen.
#[derive(Debug, PartialEq)]
enum Which {
    Any,
    None,
    /// A place in the report's list of findings.
    Finding(usize),
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            from: 0,
            count: 100,
            class: None,
            problem: None,
            split: None,
            name: String::new(),
        }
    }
}

impl Filter {
    /// As a query says it: `from`, `count`, `class` (an id), `problem` (`any`, `none`, or a finding's place), `split`, and
    /// `name`, a part of names in whatever case. What is empty is not asked for.
    ///
    /// # Errors
    /// A name that is none of these, and values that cannot be.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let shown: String = value.chars().take(40).collect();
            let wrong =
                |remedy: &str| Problem::bad(format!("`{name}` is “{shown}”"), "the query", remedy);
            let number = |value: &str| value.parse::<usize>().map_err(|_| wrong("give a number"));
            if value.is_empty() {
                continue;
            }
            match &*name {
                "from" => filter.from = number(&value)?,
                "count" => filter.count = number(&value)?.min(MOST),
                "class" => {
                    let id = value.parse().map_err(|_| wrong("give the id of a class"))?;
                    filter.class = Some(id);
                }
                "problem" => {
                    filter.problem = Some(match &*value {
                        "any" => Which::Any,
                        "none" => Which::None,
                        place => Which::Finding(number(place)?),
                    });
                }
                "split" => {
                    let split = value.parse().map_err(|_| wrong("train, val or test"))?;
                    filter.split = Some(split);
                }
                "name" => filter.name = value.to_lowercase(),
                _ => {
                    let name: String = name.chars().take(40).collect();
                    let remedy = "there are from, count, class, problem, split, name";
                    let what = format!("there is no `{name}`");
                    return Err(Problem::bad(what, "the query", remedy));
                }
            }
        }
        Ok(filter)
    }

    /// The items that are meant, as places in the data set.
    ///
    /// # Errors
    /// Classes or problems, while the check still runs.
    pub(super) fn apply(&self, viewed: &Viewed) -> Result<Vec<usize>, Problem> {
        let inspected = viewed.inspected.get();
        if (self.class.is_some() || self.problem.is_some()) && inspected.is_none() {
            let problem = Problem::new(
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                "the check still runs",
                "`class` and `problem`",
                "ask again when /v1/data says that it is done",
            );
            return Err(problem.retry_after(1));
        }
        let items = viewed.dataset.items().iter().enumerate();
        let meant = items.filter(|(index, item)| {
            let named = self.name.is_empty() || item.name().to_lowercase().contains(&self.name);
            let dealt = self.split.is_none() || item.split() == self.split;
            named && dealt && inspected.is_none_or(|found| self.holds(found, *index))
        });
        Ok(meant.map(|(index, _)| index).collect())
    }

    fn holds(&self, inspected: &Inspected, index: usize) -> bool {
        let class = self.class.is_none_or(|wanted| {
            let mut classes = inspected.contents[index].classes.iter();
            classes.any(|&(id, _)| id == wanted)
        });
        let findings = &inspected.findings[index];
        let problem = match &self.problem {
            None => true,
            Some(Which::Any) => !findings.is_empty(),
            Some(Which::None) => findings.is_empty(),
            Some(Which::Finding(place)) => findings.contains(place),
        };
        class && problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_refused_by_name() {
        let filter = Filter::read("from=7&count=100000&class=3&problem=2&split=val&name=%C3%84b");
        let expected = Filter {
            from: 7,
            count: MOST,
            class: Some(3),
            problem: Some(Which::Finding(2)),
            split: Some(Split::Val),
            name: "äb".into(),
        };
        assert_eq!(filter.unwrap(), expected);
        assert_eq!(
            Filter::read("class=&problem=&name=").unwrap(),
            Filter::default()
        );
        for (query, part) in [
            ("class=256", "`class` is “256”"),
            ("from=-1", "`from` is “-1”"),
            ("problem=worst", "`problem` is “worst”"),
            ("split=other", "train, val or test"),
            ("path=/etc/passwd", "there is no `path`"),
        ] {
            let problem = Filter::read(query).unwrap_err();
            assert!(problem.line().contains(part), "{}", problem.line());
        }
    }
}
