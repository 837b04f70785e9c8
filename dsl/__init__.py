"""The language: text -> typed spec. Knows no torch, so that `attnc check` starts in a blink."""
