"""House bodies: neutral mannequins that are dressed where no person is at hand."""
