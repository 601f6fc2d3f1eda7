//! The shapes of vehicles: saloon, hatchback, estate, van and bus.

use super::random::lerp;

/// What kinds of vehicle have in common; metres.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) length: f32,
    pub(crate) half: f32,
    pub(crate) belt: f32,
    pub(crate) wheel: f32,
    /// Height of the roofline from the rear (0) to the front (1).
    pub(crate) profile: &'static [(f32, f32)],
    /// Pillars between side windows, along the length.
    pub(crate) pillars: &'static [f32],
}

pub(crate) const BODIES: [Body; 5] = [
    Body {
        length: 4.5,
        half: 0.9,
        belt: 0.92,
        wheel: 0.33,
        profile: &[
            (0.0, 0.9),
            (0.02, 1.0),
            (0.16, 1.02),
            (0.32, 1.42),
            (0.56, 1.43),
            (0.73, 0.98),
            (0.96, 0.8),
            (1.0, 0.6),
        ],
        pillars: &[0.48],
    },
    Body {
        length: 4.0,
        half: 0.88,
        belt: 0.94,
        wheel: 0.33,
        profile: &[
            (0.0, 0.95),
            (0.02, 1.02),
            (0.13, 1.43),
            (0.55, 1.48),
            (0.75, 1.0),
            (0.96, 0.84),
            (1.0, 0.62),
        ],
        pillars: &[0.25, 0.47],
    },
    Body {
        length: 4.6,
        half: 0.95,
        belt: 1.05,
        wheel: 0.38,
        profile: &[
            (0.0, 1.1),
            (0.01, 1.2),
            (0.07, 1.68),
            (0.55, 1.72),
            (0.71, 1.15),
            (0.96, 1.0),
            (1.0, 0.7),
        ],
        pillars: &[0.22, 0.45],
    },
    Body {
        length: 5.4,
        half: 1.0,
        belt: 1.2,
        wheel: 0.36,
        profile: &[
            (0.0, 2.2),
            (0.72, 2.25),
            (0.88, 1.3),
            (0.98, 1.05),
            (1.0, 0.7),
        ],
        pillars: &[0.3, 0.62],
    },
    Body {
        length: 10.0,
        half: 1.22,
        belt: 1.3,
        wheel: 0.48,
        profile: &[(0.0, 3.0), (1.0, 3.0)],
        pillars: &[0.16, 0.32, 0.48, 0.64, 0.8],
    },
];

impl Body {
    /// Height of the roofline at a place along the length.
    pub(crate) fn height_at(&self, along: f32) -> f32 {
        let after = self.profile.partition_point(|p| p.0 <= along);
        let after = after.clamp(1, self.profile.len() - 1);
        let (a, b) = (self.profile[after - 1], self.profile[after]);
        lerp(a.1, b.1, (along - a.0) / (b.0 - a.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_run_from_rear_to_front() {
        for body in &BODIES {
            let (rear, front) = (body.profile[0], body.profile[body.profile.len() - 1]);
            assert_eq!((rear.0, front.0), (0.0, 1.0));
            assert_eq!(body.height_at(0.0), rear.1);
            assert!((body.height_at(1.0) - front.1).abs() < 1e-6);
        }
    }
}
