"""The processes: intake, relay, stage workers, replay, the embedded stack and the command line."""
