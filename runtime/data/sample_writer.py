"""The samples of a source as text, with its chat template and its images."""

from dataclasses import replace

from fsft.recipes.events import SampleShown
from fsft.recipes.schema import Data, Source
from fsft.runtime.data.images.expand import ImageTexts
from fsft.runtime.data.images.family import IMAGE_TEXTS
from fsft.runtime.data.images.files import from_folder, image_folder, located
from fsft.runtime.data.images.ids import ImageIds
from fsft.runtime.data.images.processor import ImageProcessor
from fsft.runtime.data.images.shown import with_named_images
from fsft.runtime.data.render import Rendered, render, render_rejected
from fsft.runtime.data.sample import Sample
from fsft.runtime.data.samples import PlacedSample
from fsft.runtime.data.text_tokenizer import TextTokenizer
from fsft.runtime.data.tokenizer import template_of

NO_IMAGES = f"the row has images, which the model does not take; {', '.join(IMAGE_TEXTS)} do"


class SampleWriter:
    """Writes samples as the tokenizer sees them; raises ValueError where one cannot be used."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        data: Data,
        source: Source,
        images: ImageProcessor | None = None,
    ) -> None:
        """`images`: the model's image processor, where it takes images.

        Raises Refused where tokenizer or chat template do not suit images.
        """
        self.tokenizer = tokenizer
        self._data, self._source, self._template = data, source, template_of(source)
        template = self._template or tokenizer.chat_template
        self._images = ImageTexts(images, template, source) if images else None
        self._image_text = images.text if images else None
        self.image_ids = ImageIds(images.text, tokenizer) if images else None

    def placed(self, placed: PlacedSample) -> PlacedSample:
        """The sample with its images named from `image_folder` on, not from its file."""
        sample = placed.sample
        if not sample.images:
            return placed
        if self._images is None:
            raise ValueError(NO_IMAGES)
        names = (from_folder(name, placed.row.file, self._source) for name in sample.images)
        return replace(placed, sample=replace(sample, images=tuple(names)))

    def write(self, sample: Sample) -> Rendered:
        """The text of a sample, or of the better dialogue, with the tokens of its images."""
        if not sample.images or self._images is None:
            return render(sample, self.tokenizer, self._data, self._template)
        written = self._images.written(sample)
        rendered = render(written, self.tokenizer, self._data, self._template)
        return self._images.expanded(rendered, sample.images)

    def write_rejected(self, sample: Sample) -> Rendered:
        """The worse dialogue of a preference, in the same way."""
        if not sample.images or self._images is None:
            return render_rejected(sample, self.tokenizer, self._data, self._template)
        written = self._images.written(sample)
        rendered = render_rejected(written, self.tokenizer, self._data, self._template)
        return self._images.expanded(rendered, sample.images)

    def with_named_images(self, shown: SampleShown, sample: Sample) -> SampleShown:
        """A sample for people, with its images by name and size instead of their tokens."""
        if not sample.images or self._image_text is None:
            return shown
        folder = image_folder(self._source)
        places = [located(name, folder) for name in sample.images]
        return with_named_images(shown, self._image_text, places)
