"""The commands of ``vitrine``, one module a group; ``workers.cli`` imports a module when its command is used."""
