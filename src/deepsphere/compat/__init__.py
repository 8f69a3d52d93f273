"""Names and signatures of the earlier DeepSphere implementations."""
