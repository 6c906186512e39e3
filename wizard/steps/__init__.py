"""One file for each step of the wizard."""

from fsft.wizard.questions import Step
from fsft.wizard.steps.budget import BudgetStep
from fsft.wizard.steps.data import DataStep
from fsft.wizard.steps.hardware import HardwareStep
from fsft.wizard.steps.method import MethodStep
from fsft.wizard.steps.model import ModelStep
from fsft.wizard.steps.review import ReviewStep
from fsft.wizard.steps.serve import ServeStep
from fsft.wizard.steps.step import StepPane
from fsft.wizard.steps.strategy import StrategyStep

PANES: dict[Step, type[StepPane]] = {
    pane.step: pane
    for pane in (
        ModelStep,
        DataStep,
        HardwareStep,
        BudgetStep,
        MethodStep,
        StrategyStep,
        ServeStep,
        ReviewStep,
    )
}
