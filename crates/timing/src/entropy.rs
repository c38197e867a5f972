use std::fmt::Debug;
use std::sync::Arc;

/// Source of randomness for jitter. Not for keys or secrets.
pub trait Entropy: Debug + Send + Sync {
    /// A number in `[0, 1)`.
    fn unit(&self) -> f64;
}

/// Randomness that many owners hold.
pub type SharedEntropy = Arc<dyn Entropy>;

/// Randomness of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl SystemEntropy {
    /// The same, ready to be handed around.
    #[must_use]
    pub fn shared() -> SharedEntropy {
        Arc::new(Self)
    }
}

impl Entropy for SystemEntropy {
    fn unit(&self) -> f64 {
        // A version 4 UUID carries 62 random bits after its variant bits; a float holds 53 of them.
        let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
        let bits = low & ((1 << 53) - 1);
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit into the mantissa without loss")]
        let unit = bits as f64 / (1_u64 << 53) as f64;
        unit
    }
}

/// Always the same number: jitter that a test can compute.
#[derive(Debug, Clone, Copy)]
pub struct FixedEntropy(f64);

impl FixedEntropy {
    /// Uses `unit` for every call, clamped into `[0, 1)`; NaN counts as 0.
    #[must_use]
    pub fn new(unit: f64) -> Self {
        let unit = if unit.is_nan() { 0.0 } else { unit };
        Self(unit.clamp(0.0, 1.0 - f64::EPSILON))
    }

    /// The same, ready to be handed around.
    #[must_use]
    pub fn shared(unit: f64) -> SharedEntropy {
        Arc::new(Self::new(unit))
    }
}

impl Entropy for FixedEntropy {
    fn unit(&self) -> f64 {
        self.0
    }
}
