//! One cycle: `torch.optim.lr_scheduler.OneCycleLR`.

use serde::{Deserialize, Serialize};

/// How a cycle goes from one value to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A line.
    Linear,
}

/// From `lr / div_factor` up to the learning rate, then down to `lr / div_factor / final_div_factor`. Smith and Topin,
/// "Super-Convergence", 2018.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneCycle {
    /// The length of the cycle, at which the end is reached; the run if not given.
    #[serde(alias = "total_steps", skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The share of the cycle that goes up, 0 to 1.
    pub pct_start: f64,
    /// The way up and down.
    pub anneal_strategy: Anneal,
    /// How far below the top it begins.
    pub div_factor: f64,
    /// How far below the beginning it ends.
    pub final_div_factor: f64,
    /// Whether it comes down to the beginning as fast as it went up, and to the end from there.
    pub three_phase: bool,
    /// Whether momentum goes the other way.
    pub cycle_momentum: bool,
    /// Momentum at the top.
    pub base_momentum: f64,
    /// Momentum at both ends.
    pub max_momentum: f64,
}

impl Default for OneCycle {
    fn default() -> Self {
        Self {
            total: None,
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
            cycle_momentum: true,
            base_momentum: 0.85,
            max_momentum: 0.95,
        }
    }
}

impl OneCycle {
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        let shares = [
            ("pct_start", self.pct_start),
            ("base_momentum", self.base_momentum),
            ("max_momentum", self.max_momentum),
        ];
        if let Some((setting, value)) = shares.into_iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            return Err((setting, value.to_string(), "give 0 to 1"));
        }
        let factors = [
            ("div_factor", self.div_factor),
            ("final_div_factor", self.final_div_factor),
        ];
        let wrong = |v: f64| !(v.is_finite() && v > 0.0);
        if let Some((setting, value)) = factors.into_iter().find(|(_, v)| wrong(*v)) {
            return Err((setting, value.to_string(), "give a number > 0"));
        }
        if self.total == Some(0) {
            return Err(("total", "0".into(), "give 1 or more"));
        }
        Ok(())
    }

    /// Between the ends (0) and the top (1) and below, as three values: beginning, top, end.
    fn at(&self, t: u64, [low, top, end]: [f64; 3]) -> f64 {
        let total = self.total.unwrap_or(1) as f64;
        let up = self.pct_start * total - 1.0;
        let phases = if self.three_phase {
            let down = 2.0 * self.pct_start * total - 2.0;
            vec![(up, low, top), (down, top, low), (total - 1.0, low, end)]
        } else {
            vec![(up, low, top), (total - 1.0, top, end)]
        };
        let t = t as f64;
        let mut start = 0.0;
        let last = phases.len() - 1;
        for (index, (stop, from, to)) in phases.into_iter().enumerate() {
            if t <= stop || index == last {
                let way = ((t - start) / (stop - start)).min(1.0);
                // A phase of no length is over.
                let way = if way.is_finite() { way } else { 1.0 };
                return match self.anneal_strategy {
                    Anneal::Cos => {
                        to + (from - to) / 2.0 * ((std::f64::consts::PI * way).cos() + 1.0)
                    }
                    Anneal::Linear => (to - from) * way + from,
                };
            }
            start = stop;
        }
        end
    }

    /// The learning rate, `top` being the highest.
    pub(super) fn lr(&self, t: u64, top: f64) -> f64 {
        let low = top / self.div_factor;
        self.at(t, [low, top, low / self.final_div_factor])
    }

    /// The momentum.
    pub(super) fn momentum(&self, t: u64) -> Option<f64> {
        let (base, max) = (self.base_momentum, self.max_momentum);
        self.cycle_momentum.then(|| self.at(t, [max, base, max]))
    }
}
