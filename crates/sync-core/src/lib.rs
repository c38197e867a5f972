//! A sync engine with durable checkpoints and backlog that knows neither product.
