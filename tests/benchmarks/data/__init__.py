"""What preparing data costs, beside what others take for the same."""
