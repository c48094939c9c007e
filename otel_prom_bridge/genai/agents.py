"""Recording what agents do. It needs the OpenTelemetry API alone, so any exporter shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import Measurements, clean, mapping
from otel_prom_bridge.recording.operations import ERROR_TYPE, Duration, Failure, failure_of, seconds, settle
from otel_prom_bridge.recording.quick import CleanAttributes
from otel_prom_bridge.recording.reports import guarded, report

Extra = Mapping[str, object] | None


class Timed(DecoratingOperation):
    """A step, a tool call, a memory operation or a workflow: its duration, and whether it failed."""

    __slots__ = ("_attributes", "_counted_by", "_metric", "_record", "_step")

    def __init__(
        self,
        measurements: Measurements,
        metric: Metric,
        attributes: CleanAttributes,
        *,
        context: Context | None = None,
        counted_by: Execution | None = None,
    ) -> None:
        self._record = measurements.record
        self._metric = metric
        self._attributes = attributes
        self._counted_by = counted_by
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self._step = 0  # the number of the step in which the agent calls this tool

    def _on_start(self) -> None:
        if self._counted_by is not None:
            self._step = self._counted_by._part_begins(self._metric)

    def _on_end(self, took: float, error: str | None) -> None:
        labels = _failed(self._attributes, error)
        self._record(self._metric, took, labels, self._context)
        if self._step and self._metric is conventions.TOOL_DURATION:
            self._record(conventions.TOOL_CALLS_BY_STEP, 1, in_step(labels, self._step), self._context)


class Execution(Timed):
    """One invocation of an agent, made by :meth:`AgentRecorder.execution`.

    :meth:`step`, :meth:`tool` and :meth:`memory` make the operations inside of it, with the agent's name.
    These are run with ``with``, or decorate a function, as the execution itself does. Inside a function that
    an execution decorates, the methods of that execution speak of the invocation that is going on there.
    """

    __slots__ = ("_agent", "_going_on", "_inference_calls", "_recorder", "_steps", "_tool_calls")

    def __init__(
        self, recorder: AgentRecorder, agent: str | None, attributes: Extra, context: Context | None
    ) -> None:
        self._recorder = recorder
        self._agent = agent
        labels = clean(attributes, {vocabulary.AGENT_NAME: agent})
        super().__init__(recorder._measurements, conventions.INVOKE_AGENT_DURATION, labels, context=context)

    def _reset(self) -> None:
        super()._reset()
        self._inference_calls: int | None = None
        self._tool_calls: int | None = None
        self._steps: int | None = None
        self._going_on: Begun | None = None

    def inference_call(self, count: int = 1) -> None:
        """Say that the agent called a model. Failed calls count, too."""
        run = self._counting()
        run._inference_calls = (run._inference_calls or 0) + count

    def tool_call(self, count: int = 1) -> None:
        """Say that the agent called a tool. An operation of :meth:`tool` says so itself."""
        run = self._counting()
        run._tool_calls = (run._tool_calls or 0) + count

    def _part_begins(self, metric: Metric) -> int:
        """Count a step or a tool call that begins. The result is the number of the step in which it is."""
        if metric is conventions.TOOL_DURATION:
            self.tool_call()
            run = self._current()
            return (run._inference_calls or 0) if run._steps is None else run._steps
        run = self._counting()
        run._steps = (run._steps or 0) + 1
        return 0

    def _counting(self) -> Execution:
        run = self._current()
        if run is self and self._decorates and not self._started:
            # The one who asks is a generator, a thread of the function, or somebody outside of it.
            report("a decorator", "calls are counted inside of what is decorated: this one is not recorded")
        return run

    def step(self, step_type: str, *, attributes: Extra = None) -> Timed:
        """A step of this agent. It is counted as one. See :meth:`AgentRecorder.step`."""
        return self._recorder._step(self._agent, step_type, attributes, None, counted_by=self)

    def tool(self, name: str, *, type: str | None = None, attributes: Extra = None) -> Timed:
        """A tool call of this agent. It is counted as one. See :meth:`AgentRecorder.tool`."""
        return self._recorder._tool(name, self._agent, type, attributes, None, counted_by=self)

    def memory(self, operation: str, *, attributes: Extra = None) -> Timed:
        """A memory operation of this agent; see :meth:`AgentRecorder.memory`."""
        return self._recorder.memory(operation, agent=self._agent, attributes=attributes)

    def _on_start(self) -> None:
        self._going_on = self._recorder._active.begin(clean({vocabulary.AGENT_NAME: self._agent}))

    def _on_end(self, took: float, error: str | None) -> None:
        self._recorder._active.end(self._going_on)
        super()._on_end(took, error)
        self._recorder._calls(
            self._agent, self._inference_calls, self._tool_calls, self._steps, self._context
        )


class AgentRecorder:
    """Records executions, steps, tool calls, memory operations and workflows of agents.

    Without a ``meter_provider`` the global one is used. ConfigurationError is raised for something that is no
    meter provider. Nothing else raises: what cannot be recorded is logged once. Names of agents, tools, steps
    and workflows become labels, so there should be few of each.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        self._measurements = Measurements(
            meter_provider, scope=conventions.SCOPE, schema_url=conventions.SCHEMA_URL
        )
        self._active = self._measurements.active(conventions.ACTIVE_AGENTS)

    def execution(
        self,
        agent: str | None,
        *,
        model: str | None = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> Execution:
        """An invocation of an agent.

        It is recorded in ``gen_ai.invoke_agent.duration`` [s], and counts in ``gen_ai.agent.active`` while it
        runs. If calls are counted inside of it, it is also recorded in the histograms
        ``gen_ai.invoke_agent.inference_calls`` and ``.tool_calls``, and its steps in
        ``gen_ai.invoke_agent.steps``. ``model`` is for agents that use a single model.
        """
        extra = {vocabulary.REQUEST_MODEL: model, **mapping(attributes)}
        return Execution(self, agent, extra, context)

    def step(
        self,
        agent: str | None,
        step_type: str,
        *,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> Timed:
        """A step of an agent, recorded in ``gen_ai.agent.step.duration`` [s].

        The conventions have no steps. The names of this metric and of its attribute
        ``gen_ai.agent.step.type`` are ours, in their style.
        """
        return self._step(agent, step_type, attributes, context)

    def _step(
        self,
        agent: str | None,
        step_type: str,
        attributes: Extra,
        context: Context | None,
        counted_by: Execution | None = None,
    ) -> Timed:
        labels = clean(attributes, {vocabulary.AGENT_NAME: agent, vocabulary.STEP_TYPE: step_type})
        return Timed(
            self._measurements, conventions.STEP_DURATION, labels, context=context, counted_by=counted_by
        )

    def tool(
        self,
        name: str,
        *,
        agent: str | None = None,
        type: str | None = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> Timed:
        """A tool call, recorded in ``gen_ai.execute_tool.duration`` [s].

        ``type`` is one of ``function``, ``extension`` and ``datastore``.
        """
        return self._tool(name, agent, type, attributes, context)

    def _tool(
        self,
        name: str,
        agent: str | None,
        kind: str | None,
        attributes: Extra,
        context: Context | None,
        counted_by: Execution | None = None,
    ) -> Timed:
        labels = clean(
            attributes,
            {
                vocabulary.TOOL_NAME: name,
                vocabulary.AGENT_NAME: agent,
                vocabulary.TOOL_TYPE: kind,
            },
        )
        return Timed(
            self._measurements, conventions.TOOL_DURATION, labels, context=context, counted_by=counted_by
        )

    def memory(
        self,
        operation: str,
        *,
        agent: str | None = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> Timed:
        """A memory operation, recorded in ``gen_ai.client.operation.duration`` [s] as the conventions say.

        ``operation`` is a value such as ``search_memory`` or ``upsert_memory``. Another value is completed to
        such a name, ``read`` to ``read_memory`` for example, so that none is ever taken for a call of a
        model.
        """
        labels = clean(
            attributes, {vocabulary.AGENT_NAME: agent}, {vocabulary.OPERATION: _of_memory(operation)}
        )
        return Timed(self._measurements, conventions.OPERATION_DURATION, labels, context=context)

    def workflow(
        self, name: str | None, *, attributes: Extra = None, context: Context | None = None
    ) -> Timed:
        """A workflow of several agents or calls, recorded in ``gen_ai.invoke_workflow.duration`` [s]."""
        labels = clean(attributes, {vocabulary.WORKFLOW_NAME: name})
        return Timed(self._measurements, conventions.WORKFLOW_DURATION, labels, context=context)

    # These record what was measured elsewhere. Durations are seconds or timedeltas; errors are exceptions,
    # their types, or names.

    def record_execution(
        self,
        *,
        agent: str | None,
        duration: Duration,
        error_type: Failure = None,
        status: str | None = None,
        model: str | None = None,
        inference_calls: int | None = None,
        tool_calls: int | None = None,
        steps: int | None = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> None:
        """Record an invocation of an agent. :meth:`LLMRecorder.record_request` explains ``status``."""
        execution = self.execution(agent=agent, model=model, attributes=attributes, context=context)
        self._ended(execution, duration, error_type, status)
        self._calls(agent, inference_calls, tool_calls, steps, context)

    def record_step(
        self,
        *,
        agent: str | None,
        step_type: str,
        duration: Duration,
        error_type: Failure = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> None:
        """Record a step of an agent that took ``duration`` seconds."""
        step = self.step(agent, step_type, attributes=attributes, context=context)
        self._ended(step, duration, error_type)

    def record_tool_call(
        self,
        *,
        tool: str,
        duration: Duration,
        agent: str | None = None,
        type: str | None = None,
        error_type: Failure = None,
        success: bool = True,
        step: int | None = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> None:
        """Record a tool call. If nothing is known but that it failed, say ``success=False``.

        ``step`` is the number of the step in which the agent called it, from 1 on.
        """
        call = self.tool(tool, agent=agent, type=type, attributes=attributes, context=context)
        status = None if success else "error"
        self._ended(call, duration, error_type, status)
        if step is not None:
            with guarded("the step of a tool call"):
                labels = in_step(_failed(call._attributes, failure_of(error_type, status)), step)
                self._measurements.record(conventions.TOOL_CALLS_BY_STEP, 1, labels, context)

    def record_memory_operation(
        self,
        *,
        operation: str,
        duration: Duration,
        agent: str | None = None,
        error_type: Failure = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> None:
        """Record a memory operation that took ``duration`` seconds."""
        memory = self.memory(operation, agent=agent, attributes=attributes, context=context)
        self._ended(memory, duration, error_type)

    def record_workflow(
        self,
        *,
        workflow: str | None,
        duration: Duration,
        error_type: Failure = None,
        attributes: Extra = None,
        context: Context | None = None,
    ) -> None:
        """Record a workflow that took ``duration`` seconds."""
        self._ended(self.workflow(workflow, attributes=attributes, context=context), duration, error_type)

    def set_active_agents(self, agent: str, count: int) -> None:
        """Say how many executions of an agent go on that were not made with :meth:`execution`.

        ``gen_ai.agent.active`` shows this number plus the number of those that were. What any recorder of the
        meter provider said last counts, also if it was said before there was an SDK.
        """
        settle()
        with guarded("a number of active agents"):
            if not (math.isfinite(count) and count >= 0):
                report("active agents", "%r: %r is no number of active agents", agent, count)
                return
            self._active.say(count, clean({vocabulary.AGENT_NAME: agent}))

    def _ended(
        self, operation: Timed, duration: Duration, failure: Failure, status: str | None = None
    ) -> None:
        # The operation was never started. So it is not counted as active, and its own clock does not matter.
        settle()
        with guarded("a duration"):
            labels = _failed(operation._attributes, failure_of(failure, status))
            self._measurements.record(operation._metric, seconds(duration), labels, operation._given_context)

    def _calls(
        self,
        agent: str | None,
        inference: int | None,
        tool: int | None,
        steps: int | None,
        context: Context | None,
    ) -> None:
        labels = clean({vocabulary.AGENT_NAME: agent})
        self._measurements.record(conventions.INFERENCE_CALLS, inference, labels, context)
        self._measurements.record(conventions.TOOL_CALLS, tool, labels, context)
        self._measurements.record(conventions.STEPS, steps, labels, context)


# Agents that run in circles make many steps, and there are to be few labels.
_STEPS = ((20, "11 to 20"), (50, "21 to 50"))


def in_step(labels: CleanAttributes, step: int) -> CleanAttributes:
    """The labels of a tool call with the number of its step, of which there are few.

    >>> [in_step(clean({}), step)["gen_ai.agent.step.number"] for step in (1, 10, 11, 21, 1000)]
    ['1', '10', '11 to 20', '21 to 50', 'above 50']
    """
    above = next((text for most, text in _STEPS if step <= most), "above 50")
    number = str(step) if step <= 10 else above
    return labels.also(vocabulary.STEP_NUMBER, number)


def _of_memory(operation: object) -> str:
    """What ``gen_ai.operation.name`` says of an operation of a memory, in the style of the conventions."""
    (said,) = clean({"": operation}).values() or ("",)
    name = str(said)
    return name if name.endswith(("memory", "memory_store")) else f"{name}_memory".lstrip("_")


def _failed(attributes: CleanAttributes, error: str | None) -> CleanAttributes:
    return attributes if error is None else attributes.also(ERROR_TYPE, error)
