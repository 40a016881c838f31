"""One file a wire format, each a pure translation: body to `Call`, `Plan` to body or to stream events."""
