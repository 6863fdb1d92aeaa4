"""Postgres, the asset store and the guarded download of photographs."""
